package mutants

// tiers runs seeds of entries that replace, free and drop extents, next to a naive reader
// of them.
var tiers = catcher{"./tiering/partlog", "TestTieredStateMatchesANaiveJournal"}

var partlogMutants = []mutant{
	{name: "rule 17: a fence leaves intents open", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.fence", "g.end(job, g.nowMs())", "_ = job"),
	}},
	{name: "rule 17: an intent's end lists placed objects", by: tiers, edits: []edit{
		swap("tiering/partlog.tiering.end", "!o.Placed", "true || o.Placed"),
	}},
	{name: "rule 17: an abandoned intent's objects are forgotten", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.abandon", "g.end(e.Job, g.nowMs())", "delete(g.intents, e.Job)"),
	}},
	{name: "rule 17: the last Result ends no intent", by: tiers, edits: []edit{
		never("tiering/partlog.stage.result", "e.Last"),
	}},
	{name: "rule 17: no second deletion", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.sweep", "item.Deleted, item.SinceMs = true, g.nowMs()\ng.garbage[id] = item", "delete(g.garbage, id)"),
	}},
	{name: "rule 19: Results before deleted records", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.part", "max(p.start, g.change.starts[k])", "p.start"),
	}},
	{name: "rule 19: takes extents below the start", by: tiers, edits: []edit{
		never("tiering/partlog.stage.resultPart", "first < len(p.Extents) && p.Extents[first].Last < start"),
	}},
	{name: "rule 19: a partition that left is a contradiction", by: tiers, edits: []edit{
		before("tiering/partlog.stage.resultPart", "if t == nil || t.dropped {_}", `if t == nil {
	return contradiction("the partition is not there")
}`),
	}},
	{name: "rule 19: a deletion of records is a contradiction", by: tiers, edits: []edit{
		before("tiering/partlog.stage.resultPart", "first := 0", `if start > p.From && start > t.merged {
	return contradiction("records were deleted")
}`),
	}},
	{name: "rule 19: merged extents below refs stay", by: tiers, edits: []edit{
		swap("tiering/partlog.part.find", "offset >= p.merged", "offset >= p.refs.start"),
	}},
	{name: "rule 19: a page is replaced as a whole", by: tiers, edits: []edit{
		before("tiering/partlog.replacement.takePaged", "return left, right, nil", "right = mergedChunk{}"),
	}},
	{name: "rule 20: shared segments are not counted", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.forget", "known.extents > 0", "known.extents > 1000"),
	}},
	{name: "rule 20: objects without an extent are forgotten", by: tiers, edits: []edit{
		never("tiering/partlog.stage.result", "e.Last"),
		swap("tiering/partlog.stage.fence", "g.end(job, g.nowMs())", "delete(g.intents, job)"),
	}},
	{name: "rule 20: more is freed than the entry says", by: tiers, edits: []edit{
		before("tiering/partlog.stage.free", "below, gone := t.below.freed(f.Offset)", "f.Offset = start"),
	}},
	{name: "rule 20: seqs that damage has named are forgotten", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.forget", "g.kept[m.Seq]--", "delete(g.kept, m.Seq)"),
	}},
	{name: "rule 20: a dropped partition leaves before its objects are released", by: tiers, edits: []edit{
		swap("tiering/partlog.stage.commitLocked", "p.dropped && len(p.below.chunks) == 0", "p.dropped"),
	}},
	{name: "checkpoint without garbage seqs", by: tiers, edits: []edit{
		swap("tiering/partlog.encoder.tieringHead", "uint32(len(t.seqs))", "uint32(0*len(t.seqs))"),
		drop("tiering/partlog.encoder.tiering", "for _, g := range t.seqs {_}"),
	}},
	{name: "checkpoint without loose seqs", by: tiers, edits: []edit{
		swap("tiering/partlog.tiering.looseSeqs", "extents == 0", "extents < 0"),
	}},
	{name: "page in place of other extents", by: tiers, edits: []edit{
		swap("tiering/partlog.mergedList.paged", "!slices.Equal(refs[at:][:len(p.refs)], p.refs)", "false && !slices.Equal(refs[at:][:len(p.refs)], p.refs)"),
	}},
}
