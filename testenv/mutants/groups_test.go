package mutants

const (
	groupJoin      = "metadata/coordinator/group/join.go"
	groupLive      = "metadata/coordinator/group/live.go"
	groupMachine   = "metadata/coordinator/group/machine.go"
	groupMember    = "metadata/coordinator/group/member.go"
	groupOffsets   = "metadata/coordinator/group/offsets.go"
	groupRebalance = "metadata/coordinator/group/rebalance.go"
	groupSnapshot  = "metadata/coordinator/group/snapshot.go"
	groupSync      = "metadata/coordinator/group/sync.go"
)

var groupMutants = []mutant{
	{name: "member without a session once it is answered", by: groups, edits: []edit{{groupRebalance,
		"		m.startSession(out, who)\n		who.answerJoin(g.joined(who))\n", "		who.answerJoin(g.joined(who))\n"}}},
	{name: "assignments given out before they are committed", by: groups, edits: []edit{{groupSync,
		"	m.append(out, g, []coordinator.Record{record}, done)\n", "	m.append(out, g, []coordinator.Record{record}, func(coordinator.Out, error) {})\n	done(out, nil)\n"}}},
	{name: "second assignment of a generation written", by: groups, edits: []edit{{groupSync,
		"	g.assigned = true\n", ""}}},
	{name: "kept state changed by a request", by: groups, edits: []edit{{groupSync,
		"	who.unsynced = false\n", "	who.unsynced = false\n	if k := m.kept[g.id]; k != nil && k.meta != nil && len(k.meta.members) > 0 {\n		k.meta.members[0].assignment = []byte{1}\n	}\n"}}},
	{name: "superseded join left without an answer", by: groups, edits: []edit{{groupMember,
		"	who.answerJoin(JoinAnswer{Err: ErrRebalance, Member: who.id})\n	who.join = answer\n", "	who.join = answer\n"}}},
	{name: "fenced member left waiting", by: groups, edits: []edit{{groupJoin,
		"	old.answerJoin(JoinAnswer{Err: ErrFencedInstance, Member: old.id})\n", ""}}},
	{name: "removed member left waiting", by: groups, edits: []edit{{groupMember,
		"	who.answerJoin(JoinAnswer{Err: ErrUnknownMember})\n", ""}}},
	{name: "removed leader still leads", by: groups, edits: []edit{{groupMember,
		"		g.leader = \"\"\n", ""}, {groupMember, "			g.leader = g.members[0].id\n", "			_ = g.leader\n"}}},
	{name: "two leaders of a generation", by: groups, edits: []edit{{groupRebalance,
		"	for _, who := range slices.Clone(g.members) {\n		who.isNew, who.unsynced = false, true\n",
		"	for _, who := range slices.Clone(g.members) {\n		g.leader = who.id\n		who.isNew, who.unsynced = false, true\n"}}},
	{name: "generation not counted", by: groups, edits: []edit{{groupRebalance,
		"	g.generation = max(0, g.generation+1) // wraps around\n", "	g.generation = max(1, g.generation)\n"}}},
	{name: "nobody limits the wait for joins", by: groups, edits: []edit{{groupRebalance,
		"	m.timers.set(&g.joining, out.Now().Add(g.rebalanceTimeout()))\n", ""}}},
	{name: "nobody limits the wait for assignments", by: groups, edits: []edit{{groupRebalance,
		"	m.timers.set(&g.syncing, out.Now().Add(g.rebalanceTimeout()))\n", ""}}},
	{name: "read overtakes a commit", by: groups, edits: []edit{{groupOffsets,
		"	last := g.writes[len(g.writes)-1]\n	last.readers = append(last.readers, read)\n", "	_ = read\n"}}},
	{name: "commit answered when it is appended", by: groups, edits: []edit{{groupOffsets,
		"func(_ coordinator.Out, err error) { answer(each, err) })\n		w.commits = partitions\n",
		"func(_ coordinator.Out, err error) {})\n		answer(each, nil)\n		w.commits = partitions\n"}}},
	{name: "deletion spares commits under way", by: groups, edits: []edit{{groupOffsets,
		"	for _, w := range g.writes {\n		for _, p := range w.commits {\n			all[p] = true\n		}\n	}\n", ""}}},
	{name: "group let go of while its end is in doubt", by: groups, edits: []edit{{groupMachine,
		"		return // it is not known whether the record of its end is committed\n", "		_ = k\n"}}},
	{name: "leader not restored", by: groups, edits: []edit{{groupLive,
		"		g.leader = leader.id\n", "		_ = leader\n"}}},
	{name: "sessions not started after a take-over", by: groups, edits: []edit{{groupMachine,
		"				m.startSession(out, who)\n", "				_ = who\n"}}},
	{name: "waiting members forgotten when the leadership ends", by: groups, edits: []edit{{groupMachine,
		"			who.answerSync(SyncAnswer{Err: err})\n", ""}}},
	{name: "instance ids lost in snapshots", by: groups, edits: []edit{{groupSnapshot,
		"			id: r.String16(), instance: decodeOptional(r, err), clientID", "			id: r.String16(), instance: nothing(decodeOptional(r, err)), clientID"},
		{groupSnapshot, "func decodeOptional(", "func nothing(*string) *string { return nil }\n\nfunc decodeOptional("}}},
}
