package mutants

// passes compacts logs in memory, compactions a partition in a bucket with leaders that die.
var (
	passes = catcher{"./tiering/compact", "TestPassesKeepTheLastValues"}
	tables = catcher{"./tiering/compact", "TestCompactedPartitions"}
)

var compactMutants = []mutant{
	{name: "rule 28: the last batch counts as clean", by: passes, edits: []edit{
		never("tiering/compact.Pass.Begin", "h.LastOffset() >= p.Last"),
	}},
	{name: "rule 28: a full map is taken for complete", by: tables, edits: []edit{
		swap("tiering/compact.Step.finish", "x.End()", "x.To"),
	}},
	{name: "rule 28: tombstones go that this pass has seen first (T12)", by: passes, edits: []edit{
		swap("tiering/compact.Pass.Keep", "r.Offset >= p.TombstonesBelow", "r.Offset >= p.end"),
	}},
	{name: "rule 28: a pass that died moves the clean offset", by: tables, edits: []edit{
		swap("tiering/compact.Step.announce", "x.state.Cleaned", "x.End()"),
		never("tiering/compact.Step.announce", "x.TombstonesBelow <= x.state.TombstonesBelow"),
	}},
	{name: "rule 28: an older record is kept in place of the newest", by: passes, edits: []edit{
		swap("tiering/compact.Map.Put", "max(s.offset, offset+1)", "offset"),
	}},
	{name: "T17: compaction loses a key, and nothing compares", by: tables, edits: []edit{
		never("tiering/merge.Executor.differs", "q.Sum != want"),
	}},
}
