package mutants

// passes compacts logs in memory, compactions a partition in a bucket with leaders that die.
var (
	passes = catcher{"./tiering/compact", "TestPassesKeepTheLastValues"}
	tables = catcher{"./tiering/compact", "TestCompactedPartitions"}
	lags   = catcher{"./tiering/compact", "TestRecordsKeepTheirLag"}
	ended  = catcher{"./tiering/compact", "TestAPassEndsByAConfirmedClock"}
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
	{name: "rule 27: compacts by a clock that was behind when records came", by: lags, plain: true, edits: []edit{
		never("tiering/compact.newest", "sent.After(built) && !sent.After(now.Add(clocks.ClientAhead))"),
	}},
	{name: "rule 27: records from the future are not compacted", by: lags, plain: true, edits: []edit{
		swap("tiering/compact.newest", "!sent.After(now.Add(clocks.ClientAhead))", "true"),
	}},
	{name: "rule 27: a pass ends by a clock that nothing confirms", by: ended, plain: true, edits: []edit{
		swap("tiering/compact.Step.finish", "s.opt.Round(ctx)", "s.opt.Now(), error(nil)"),
	}},
	{name: "T17: compaction loses a key, and nothing compares", by: tables, edits: []edit{
		never("tiering/merge.Executor.differs", "q.Sum != want"),
	}},
}
