package mutants

// tiers runs seeds of entries that replace, free and drop extents, next to a naive reader
// of them.
var tiers = catcher{"./tiering/partlog", "TestTieredStateMatchesANaiveJournal"}

var partlogMutants = []mutant{
	{name: "deleted ranges stay in the merge debt", by: tiers, edits: []edit{
		swap("tiering/partlog.part.unmerged", "return left, rest", "return left + rest, 0"),
	}},
	{name: "a Result does not count deleted ranges", by: catcher{"./tiering/merge", "TestAResultCountsRangesThatWereDeleted"}, plain: true, edits: []edit{
		swap("tiering/merge.gatherer.journal", "&gathered{Key: x.Key, topic: topic, start: x.Start, source: x.Deleted}", "&gathered{Key: x.Key, topic: topic, start: x.Start}"),
	}},
	{name: "a restored chunk has no bytes", by: tiers, edits: []edit{
		drop("tiering/partlog.decoder.chunks", "c.bytes += int64(ref.Length)"),
	}},
	{name: "freed bytes leave the credit for merging again", by: catcher{"./tiering/merge", "TestFreedRecordsWereAppended"}, plain: true, edits: []edit{
		swap("tiering/merge.Merger.plan", "s.Appended", "s.JournalBytes + s.View.MergedBytes"),
	}},
	{name: "a new leader merges a whole row of the journal first", by: catcher{"./tiering/merge", "TestANewLeaderJoinsSoon"}, plain: true, edits: []edit{
		swap("tiering/merge.NewPlanner", "rowJobs - 1", "0"),
	}},
	{name: "a walk ends where the start has moved beyond it", by: catcher{"./tiering/partlog", "TestAWalkGoesOnBehindAStartThatMoves"}, plain: true, edits: []edit{
		before("tiering/partlog.State.FindFrom", "if offset < p.start {_}", `if offset < p.start {
	return nil, nil, s.viewLocked(p), true
}`),
	}},
	{name: "rule 23: pages of producers that are stored once stay so", by: catcher{"./tiering/partlog", "TestPagesThatAreStoredOnceAreWrittenAgain"}, plain: true, edits: []edit{
		swap("tiering/partlog.State.collect", "2*p.live <= int(p.total) || s.single(p)", "2*p.live <= int(p.total)"),
	}},
	{name: "rule 23: deletion below pages that are stored once", by: catcher{"./ingest", "TestNothingIsDeletedBelowACheckpointWithPagesThatAreStoredOnce"}, plain: true, edits: []edit{
		never("ingest.CheckSpared", "n.Seq == 0"),
	}},
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

// sweeps runs seeds of merges, releases and deletions, and looks for objects that are gone
// and for those that are left over.
var sweeps = catcher{"./tiering/sweep", "TestSweepDeletesAllThatIsFreeAndNothingElse"}

var sweepMutants = []mutant{
	{name: "rule 20: releases seqs that damage names", by: sweeps, edits: []edit{
		never("tiering/sweep.view.without", "is && seq >= q.First && seq <= q.Last"),
	}},
	{name: "rule 20: releases seqs above the lowest in use", by: sweeps, edits: []edit{
		swap("tiering/sweep.Releaser.lowest", "min(lowest, p.First.Object.Seq)", "lowest"),
		swap("tiering/sweep.Releaser.lowest", "min(lowest, seq)", "max(lowest, seq)"),
	}},
	{name: "rule 20: releases voids", by: sweeps, edits: []edit{
		swap("tiering/sweep.judge.take", "h.Epoch == j.next.Epoch && h.Kind == segment.KindData", "h.Kind == segment.KindData"),
	}},
	{name: "rule 20: releases fences", by: sweeps, edits: []edit{
		after("tiering/sweep.judge.take", "j.next.Epoch = h.Epoch", "j.known = append(j.known, partlog.Run{Seqs: partlog.Seqs{First: h.Seq, Last: h.Seq}, Epoch: h.Epoch})"),
	}},
	{name: "rule 20: runs go on over fences and voids", by: sweeps, edits: []edit{
		swap("tiering/partlog.Runs.With", "n == 0 || r[n-1].Last != h.Seq-1 || r[n-1].Epoch != h.Epoch", "n == 0"),
	}},
	{name: "rule 20: loose seqs are forgotten", by: sweeps, edits: []edit{
		never("tiering/sweep.view.loose", "!named && seq < v.judged.Seq"),
	}},
	{name: "rule 20: objects of pages are not named", by: sweeps, edits: []edit{
		swap("tiering/sweep.Releaser.readPaged", "extents.From(page.Base, maxPage)", "extents.From(page.Base, 0)"),
	}},
	{name: "rule 20: a lost page names nothing", by: sweeps, edits: []edit{
		swap("tiering/sweep.Releaser.lowest", "max(r.firsts[p.Key].seq, v.judged.Seq)", "unknown"),
	}},
	{name: "rule 20: a lost page is passed", by: sweeps, edits: []edit{
		swap("tiering/sweep.Releaser.readPaged", "p.View.Start, p.View.End = min(p.View.Start, page.Base), min(p.View.End, page.Base)", "_ = p"),
	}},
	{name: "rule 20: a lost page ends the Releases of its journal", by: sweeps, edits: []edit{
		always("tiering/sweep.lostPages.note", "!lost.Is(err)"),
	}},
	{name: "records that were deleted before a merge have the short grace", by: sweeps, edits: []edit{
		drop("tiering/partlog.change.commitLocked", "s.tiering.noteUnmerged(h.Seq)"),
	}},
	{name: "rule 27: releases by a clock that is not trusted", by: sweeps, edits: []edit{
		swap("tiering/sweep.Releaser.Run", "!trusted", "!trusted && err != nil"),
	}},
	{name: "rule 26: each Release is the reason for the next", by: sweeps, edits: []edit{
		never("tiering/sweep.view.plan", "p.objects() == 0 && v.idle(p)"),
	}},
	{name: "rule 21: deletes objects that are not released", by: sweeps, edits: []edit{
		before("tiering/sweep.Deleter.delete", "first, firstErr := d.objects(ctx, due.first)", `d.opt.State.Survey(func(s *partlog.Survey) {
	for i := range s.Segments {
		d.keys(ctx, []string{s.Segments[i].Object.Key()}, false)
	}
})`),
	}},
	{name: "rule 21: failed deletions count", by: sweeps, edits: []edit{
		always("tiering/sweep.Deleter.objects", "outcomes[i] == nil"),
	}},
	{name: "rule 22: deletes journal objects above the floor", by: sweeps, edits: []edit{
		swap("tiering/sweep.Deleter.due", "min(q.Last, floor-1)", "q.Last"),
	}},
}
