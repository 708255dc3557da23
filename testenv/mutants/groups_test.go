package mutants

var groupMutants = []mutant{
	{name: "member without a session once it is answered", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.complete", "m.startSession(out, who)"),
	}},
	{name: "assignments given out before they are committed", by: groups, edits: []edit{
		swap("metadata/coordinator/group.Machine.assign", "m.append(out, g, []coordinator.Record{record}, done)", `m.append(out, g, []coordinator.Record{record}, func(coordinator.Out, error) {})
done(out, nil)`),
	}},
	{name: "second assignment of a generation written", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.assign", "g.assigned = true"),
	}},
	{name: "kept state changed by a request", by: groups, edits: []edit{
		after("metadata/coordinator/group.Machine.Sync", "who.unsynced = false", `if k := m.kept[g.id]; k != nil && k.meta != nil && len(k.meta.members) > 0 {
	k.meta.members[0].assignment = []byte{1}
}`),
	}},
	{name: "superseded join left without an answer", by: groups, edits: []edit{
		drop("metadata/coordinator/group.member.awaitJoin", "who.answerJoin(JoinAnswer{Err: ErrRebalance, Member: who.id})"),
	}},
	{name: "fenced member left waiting", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.substitute", "old.answerJoin(JoinAnswer{Err: ErrFencedInstance, Member: old.id})"),
	}},
	{name: "removed member left waiting", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.remove", "who.answerJoin(JoinAnswer{Err: ErrUnknownMember})"),
	}},
	{name: "removed leader still leads", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.remove", `g.leader = ""`),
		swap("metadata/coordinator/group.Machine.remove", "g.leader = g.members[0].id", "_ = g.leader"),
	}},
	{name: "two leaders of a generation", by: groups, edits: []edit{
		before("metadata/coordinator/group.Machine.complete", "who.isNew, who.unsynced = false, true", "g.leader = who.id"),
	}},
	{name: "generation not counted", by: groups, edits: []edit{
		swap("metadata/coordinator/group.live.nextGeneration", "g.generation = max(0, g.generation+1)", "g.generation = max(1, g.generation)"),
	}},
	{name: "wait for joins without a limit", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.awaitJoins", "m.timers.set(&g.joining, out.Now().Add(g.rebalanceTimeout()))"),
	}},
	{name: "wait for assignments without a limit", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.complete", "m.timers.set(&g.syncing, out.Now().Add(g.rebalanceTimeout()))"),
	}},
	{name: "read overtakes a commit", by: groups, edits: []edit{
		swap("metadata/coordinator/group.Machine.Committed", `last := g.writes[len(g.writes)-1]
last.readers = append(last.readers, read)`, "_ = read"),
	}},
	{name: "commit answered when it is appended", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.Commit", "answer(each, err)"),
		after("metadata/coordinator/group.Machine.Commit", "w := m.append(_)", "answer(each, nil)"),
	}},
	{name: "deletion spares commits under way", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.commits", "for _, w := range g.writes {_}"),
	}},
	{name: "group let go of while its end is in doubt", by: groups, edits: []edit{
		never("metadata/coordinator/group.Machine.settle", "k != nil && k.meta != nil && (len(k.meta.members) > 0 || k.meta.generation != g.generation)"),
	}},
	{name: "group left alive when its end in doubt is committed", by: groups, edits: []edit{
		swap("metadata/coordinator/group.Machine.follow", `m.settle(g)
return`, "return"),
	}},
	{name: "generation that is over gives out assignments", by: groups, edits: []edit{
		swap("metadata/coordinator/group.Machine.follow", "g.generation == meta.generation", "g.generation >= 0"),
	}},
	{name: "members in doubt left without a session", by: groups, edits: []edit{
		swap("metadata/coordinator/group.Machine.follow", "m.sessionFrom(time.UnixMilli(at.TimestampMs), who)", "_, _ = time.UnixMilli(at.TimestampMs), who"),
	}},
	{name: "leader not restored", by: groups, edits: []edit{
		swap("metadata/coordinator/group.live.restore", "g.leader = leader.id", "_ = leader"),
	}},
	{name: "sessions not started after a take-over", by: groups, edits: []edit{
		swap("metadata/coordinator/group.Machine.Lead", "m.startSession(out, who)", "_ = who"),
	}},
	{name: "waiting members forgotten when the leadership ends", by: groups, edits: []edit{
		drop("metadata/coordinator/group.Machine.Resign", "who.answerSync(SyncAnswer{Err: err})"),
	}},
	{name: "instance ids lost in snapshots", by: groups, edits: []edit{
		after("metadata/coordinator/group.decodeSnapshotMetadata", "meta.members[i] = keptMember{_}", "meta.members[i].instance = nil"),
	}},
}
