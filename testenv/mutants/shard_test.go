package mutants

var shardMutants = []mutant{
	{name: "coordinator answers before its records are applied", by: shards, edits: []edit{
		after("metadata/coordinator/shard.Core.Appended", "f.base = base", `c.answer(f, nil)
f.appends = nil`),
	}},
	{name: "coordinator answers when it has appended", by: shards, edits: []edit{
		after("metadata/coordinator/shard.Core.send", "c.world.Append(c.token, data, h)", "c.answer(&flight{appends: appends}, nil)"),
	}},
	{name: "coordinator applies over a record of unknown outcome", by: shards, edits: []edit{
		never("metadata/coordinator/shard.Core.settle", "f.base > c.applied"),
		always("metadata/coordinator/shard.Core.settle", "f.base == c.applied"),
	}},
	{name: "coordinator applies records again that a scan has applied", by: shards, edits: []edit{
		always("metadata/coordinator/shard.Core.settle", "f.base == c.applied"),
	}},
	{name: "coordinator leads before it is loaded", by: shards, edits: []edit{
		swap("metadata/coordinator/shard.Core.ScanDone", "if err != nil {\n\tc.world.Trouble(err)\n} else if c.phase == Loading && c.complete() {\n\tc.lead()\n}", "if err != nil {\n\tc.world.Trouble(err)\n}\nif c.phase == Loading {\n\tc.lead()\n}"),
	}},
	{name: "read answered before the proved records are applied", by: shards, edits: []edit{
		always("metadata/coordinator/shard.Core.serveReads", "c.reads[0].end <= c.applied"),
	}},
	{name: "snapshot with an offset that is too high", by: shards, edits: []edit{
		swap("metadata/coordinator/shard.Core.publish", "c.applied", "c.applied + 1"),
	}},
	{name: "unknown outcomes forgotten", by: shards, edits: []edit{
		drop("metadata/coordinator/shard.Core.Appended", "c.doubt()"),
	}},
	{name: "snapshot from before a removed tombstone", by: compactions, edits: []edit{
		never("metadata/coordinator/shard.Core.maybeScan", "!c.current() && !c.restart()"),
		always("metadata/coordinator/shard.Core.ScanDone", "c.current()"),
	}},
	{name: "tombstone removed while a scan is under way", by: compactions, edits: []edit{
		swap("metadata/coordinator/shard.Core.current", "c.scanFrom", "c.applied"),
	}},
	{name: "snapshot of a scan that missed a tombstone", by: compactions, edits: []edit{
		never("metadata/coordinator/shard.Core.publish", "!c.current()"),
	}},
	{name: "coordinator leads with a record missing whose successor it has not read", by: compactions, edits: []edit{
		always("metadata/coordinator/shard.Core.ScanDone", "c.complete()"),
	}},
	{name: "coordinator ends where records were removed", by: compactions, edits: []edit{
		always("metadata/coordinator/shard.Core.reach", "next > removed"),
	}},
}
