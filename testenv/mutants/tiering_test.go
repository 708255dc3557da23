package mutants

import "slices"

// tieringMutants are bugs that the simulation of a tidied journal finds.
var tieringMutants = slices.Concat(mergeMutants, compactionMutants, upkeepMutants)

// mergeMutants are bugs of merge: of the rules from 16 on, and of the attacks on them.
var mergeMutants = []mutant{
	{name: "rule 16: intent after the upload", by: upkeeps, edits: []edit{
		swap("tiering/merge.Executor.commit", "if err := c.carry(ctx, []segment.Entry{c.intent(outputs)}); err != nil {_}", "intent := c.intent(outputs)"),
		before("tiering/merge.Executor.commit", "if err := c.finish(ctx); err != nil {_}", `if err := c.carry(ctx, []segment.Entry{intent}); err != nil {
	return false, err
}`),
	}},
	{name: "rule 17: fence does not end intents", by: upkeeps, edits: []edit{
		never("tiering/partlog.change.checkTiering", "c.footer.Header.Kind == segment.KindFence && len(c.state.tiering.intents) > 0"),
	}},
	{name: "rule 17: all ids of an intent that ends are garbage", by: upkeeps, edits: []edit{
		always("tiering/partlog.tiering.end", "!o.Placed"),
	}},
	{name: "rule 17: ids of an intent that ends are forgotten", by: upkeeps, edits: []edit{
		never("tiering/partlog.tiering.end", "!o.Placed"),
	}},
	{name: "rule 18: reads back its own file", by: upkeeps, edits: []edit{
		swap("tiering/merge.Executor.readOutput", "storeReader{ctx, x, o.name.Key()}", "w"),
	}},
	{name: "rule 18: ids follow from the job", by: upkeeps, edits: []edit{
		swap("tiering/merge.committing.intent", "o.name = segment.SharedSegment(c.x.opt.Journal, c.x.opt.NewID())", "o.name = segment.SharedSegment(c.x.opt.Journal, segment.ID{byte(i), byte(len(outputs))})"),
	}},
	{name: "rule 19: a start above M is a contradiction", by: upkeeps, edits: []edit{
		swap("tiering/partlog.stage.resultPart", "p.From > max(t.merged, start)", "p.From != t.merged || start > p.From"),
	}},
	{name: "rule 19: records before the Result", by: upkeeps, edits: []edit{
		swap("tiering/partlog.stage.resultPart", "p.To > end", "p.To >= end"),
	}},
	{name: "rule 20: leader forgets objects without an extent", by: upkeeps, edits: []edit{
		swap("tiering/partlog.stage.forget", "g.unreleased[m.object.id] = Unreleased{Name: m.object.name(g.change.state.journal, k), Bytes: m.object.size}", "_ = m"),
	}},
	{name: "rule 20: shared segments go with their first extent", by: upkeeps, edits: []edit{
		never("tiering/partlog.stage.forget", "known.extents > 0"),
	}},
	{name: "T17: the merger drops a batch", by: upkeeps, edits: []edit{
		before("tiering/merge.gatherer.take", "return g.spool.append(out)", "if h.BaseOffset%5 == 3 {\n\treturn nil\n}"),
	}},
	{name: "T17: the merger drops a batch, and nothing compares", by: upkeeps, edits: []edit{
		before("tiering/merge.gatherer.take", "return g.spool.append(out)", "if h.BaseOffset%5 == 3 {\n\treturn nil\n}"),
		never("tiering/merge.Executor.differs", "q.Sum != want"),
	}},
	{name: "rule 26: carried entries wake an idle journal", by: carries, edits: []edit{
		swap("ingest.core.carryDue", "x.at.Add(c.carryAfter)", "x.at"),
	}},
	{name: "rule 26: carried entries wait for a record", by: carries, edits: []edit{
		swap("ingest.core.mustCarry", "!at.IsZero()", "false"),
	}},
	{name: "rule 26: carried entries answered when they are sent", by: carries, edits: []edit{
		swap("ingest.carriage.reached", "x.core.state.Head() >= x.seq", "true"),
	}},
	{name: "rule 31: a source is given up at once", by: damages, edits: []edit{
		swap("tiering/merge.suspects.failed", "now.Sub(x.first) >= sourcePatience", "true"),
	}},
	{name: "rule 31: a source holds up its partition forever", by: damages, edits: []edit{
		swap("tiering/merge.suspects.failed", "now.Sub(x.first) >= sourcePatience", "false"),
	}},
	{name: "rule 31: a damaged range left out of the result", by: damages, edits: []edit{
		drop("tiering/merge.gatherer.missing", "p.damage, p.data = append(p.damage, *e), e.Last+1"),
	}},
}

// compactionMutants are bugs of log compaction.
var compactionMutants = []mutant{
	{name: "rule 28: a key goes with its newest record", by: upkeeps, edits: []edit{
		swap("tiering/compact.Pass.Keep", "newest > r.Offset", "newest >= r.Offset"),
	}},
	{name: "rule 28: tombstones of this pass go", by: upkeeps, edits: []edit{
		swap("tiering/compact.Pass.Keep", "r.Offset >= p.TombstonesBelow", "r.Offset >= p.end"),
	}},
	{name: "rule 28: clean up to the end of the log", by: tables, edits: []edit{
		swap("tiering/compact.Pass.End", "p.end", "max(p.end, p.To)"),
	}},
	{name: "rule 28: a pass is over before its last extent", by: tables, edits: []edit{
		swap("tiering/compact.Step.run", "e.Base >= x.End() && x.wide == 1", "e.Last >= x.End() && x.wide == 1"),
	}},
	{name: "rule 28: a pass does not go to the start", by: tables, edits: []edit{
		swap("tiering/compact.Step.begin", "chosen.View.Start", "due.From"),
	}},
	{name: "rule 30: tombstones go before that is announced", by: upkeeps, edits: []edit{
		always("tiering/compact.Step.announce", "x.TombstonesBelow <= x.state.TombstonesBelow"),
	}},
}
