package mutants

// upkeepMutants are bugs of deletion, of drops, of clocks and of damage, that the
// simulation of a tidied journal finds as a whole.
var upkeepMutants = []mutant{
	{name: "rule 17: an object is deleted once", by: upkeeps, edits: []edit{
		swap("tiering/partlog.stage.sweep", "item.Deleted, item.SinceMs = true, g.nowMs()\ng.garbage[id] = item", "delete(g.garbage, id)"),
	}},
	{name: "rule 20: the lowest seq in use is not looked for", by: upkeeps, edits: []edit{
		swap("tiering/sweep.Releaser.lowest", "min(lowest, p.First.Object.Seq)", "lowest"),
		swap("tiering/sweep.Releaser.lowest", "min(lowest, seq)", "max(lowest, seq)"),
	}},
	{name: "rule 20: fences are released", by: upkeeps, edits: []edit{
		after("tiering/sweep.judge.take", "j.next.Epoch = h.Epoch", "j.known = append(j.known, partlog.Run{Seqs: partlog.Seqs{First: h.Seq, Last: h.Seq}, Epoch: h.Epoch})"),
	}},
	{name: "rule 22: journal objects below the newest floor go", by: upkeeps, edits: []edit{
		swap("tiering/journal.Spared.Seq", "s.n, s.seq = s.floors.n, before.floor.Floor", "s.n, s.seq = s.floors.n, s.floors.floor.Floor"),
	}},
	{name: "rule 22: journal objects go whatever the checkpoint is", by: upkeeps, edits: []edit{
		swap("tiering/journal.Spared.Seq", "c, err := before.checkpoint(ctx, s.base)", "_, err = before.checkpoint(ctx, s.base)"),
		swap("tiering/journal.Spared.Seq", "if err == nil && s.check != nil {_}", "err = nil"),
	}},
	{name: "rule 22: no start from the floor before", by: catcher{"./tiering/journal", "TestAStartGoesBackOneFloor"}, plain: true, edits: []edit{
		always("tiering/journal.floors.checkpointOrBefore", "!lost.Is(err)"),
	}},
	{name: "rule 22: a start goes back two floors", by: catcher{"./tiering/journal", "TestADamagedFloorIsPassedOver"}, plain: true, edits: []edit{
		never("tiering/journal.floors.checkpointOrBefore", "f.damaged != nil"),
	}},
	{name: "rule 7: a damaged floor hides the next one", by: catcher{"./tiering/journal", "TestADamagedFloorIsPassedOver"}, plain: true, edits: []edit{
		swap("tiering/journal.floors.read", "f.next(ctx, f.n+2)", "objstore.ErrNotFound"),
	}},
	{name: "rule 23: a start without floors takes a checkpoint whose pages are gone", by: catcher{"./tiering/journal", "TestAStartWithoutCheckpointsOfFloorsTakesANewerOne"}, plain: true, edits: []edit{
		never("tiering/journal.keeping.there", "err == nil && len(missing) > 0"),
	}},
	{name: "rule 23: the second copy of a page is not read", by: upkeeps, edits: []edit{
		always("tiering/restore.Page", "!lost.Is(err)"),
	}},
	{name: "rule 25: drops before journal 0 is proved", by: upkeeps, edits: []edit{
		drop("tiering/clocks.Clocks.Round", "if err := c.opt.Prove(ctx); err != nil {_}"),
	}},
	{name: "rule 25: drops partitions that can be restored", by: upkeeps, edits: []edit{
		swap("tiering/expire.Dropper.plan", "x.opt.Gone(k.Topic)", "true"),
	}},
	{name: "rule 25: a dropped partition leaves the state at once", by: upkeeps, edits: []edit{
		swap("tiering/partlog.stage.commitLocked", "p.dropped && len(p.below.chunks) == 0", "p.dropped"),
	}},
	{name: "rule 26: an idle journal never comes to rest", by: upkeeps, edits: []edit{
		never("tiering/sweep.view.plan", "p.objects() == 0 && v.idle(p)"),
	}},
	{name: "rule 27: expires by a clock that is wrong", by: upkeeps, edits: []edit{
		never("tiering/clocks.Clocks.judge", "wrong"),
	}},
	{name: "rule 31: damage is never gone around", by: upkeeps, edits: []edit{
		swap("tiering/merge.suspects.failed", "now.Sub(x.first) >= sourcePatience", "false"),
	}},
	{name: "rule 31: damage is a gap", by: upkeeps, edits: []edit{
		drop("tiering/merge.gatherer.missing", "p.damage, p.data = append(p.damage, *e), e.Last+1"),
	}},
}
