package mutants

const (
	shardCore = "metadata/coordinator/shard/core.go"
	shardScan = "metadata/coordinator/shard/scan.go"
)

var shardMutants = []mutant{
	{name: "coordinator answers before its records are applied", by: shards, edits: []edit{{shardCore,
		"			f.base = base\n", "			f.base = base\n			c.answer(f, nil)\n			f.appends = nil\n"}}},
	{name: "coordinator answers when it has appended", by: shards, edits: []edit{{shardCore,
		"	c.world.Append(c.token, data, h)\n", "	c.world.Append(c.token, data, h)\n	c.answer(&flight{appends: appends}, nil)\n"}}},
	{name: "coordinator applies over a record of unknown outcome", by: shards, edits: []edit{{shardCore,
		"		if f.base < 0 || f.base > c.applied {\n", "		if f.base < 0 {\n"}, {shardCore,
		"		if f.base == c.applied && !c.applyFlight(f) {\n", "		if !c.applyFlight(f) {\n"}}},
	{name: "coordinator applies what a scan has applied again", by: shards, edits: []edit{{shardCore,
		"		if f.base == c.applied && !c.applyFlight(f) {\n", "		if !c.applyFlight(f) {\n"}}},
	{name: "coordinator leads before it is loaded", by: shards, edits: []edit{{shardScan,
		"	} else if c.phase == Loading {\n", "	}\n	if c.phase == Loading {\n"}}},
	{name: "read answered without a proof", by: shards, edits: []edit{{shardCore,
		"	c.prove()\n}\n\nfunc (c *Core) refuses()", "	c.asked = len(c.reads)\n	c.Proved(nil)\n}\n\nfunc (c *Core) refuses()"}}},
	{name: "read answered before what was proved is applied", by: shards, edits: []edit{{shardScan,
		"c.reads[0].proved && c.reads[0].end <= c.applied {", "c.reads[0].proved {"}}},
	{name: "snapshot of more than is in it", by: shards, edits: []edit{{shardCore,
		"	s := Snapshot{Offset: c.applied,", "	s := Snapshot{Offset: c.applied + 1,"}}},
	{name: "unknown outcomes forgotten", by: shards, edits: []edit{{shardCore,
		"			c.doubt()\n", ""}}},
}
