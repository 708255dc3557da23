package mutants

// kept runs tests of package journal about the index objects that floors keep.
func kept(test string) catcher { return catcher{"./tiering/journal", test} }

var pageMutants = []mutant{
	{name: "rule 23: pages of the last floor only", plain: true, by: kept("TestIndexObjectsOfTheLastTwoFloorsAreKept"), edits: []edit{
		swap("tiering/journal.keeping.now", "for _, f := range two {_}", `for _, f := range two[:1] {
	names, err := k.named(ctx, f)
	if err != nil {
		return nil, err
	}
	all.add(names)
}`),
	}},
	{name: "rule 23: pages without their seq", plain: true, by: kept("TestIndexObjectsOfTheLastTwoFloorsAreKept"), edits: []edit{
		swap("tiering/journal.kept.has", "n.Seq == 0 || n.Seq >= k.from || k.names[n]", "n.Seq == 0 || k.names[n]"),
	}},
	{name: "rule 23: a page whose key has no seq may go", plain: true, by: kept("TestIndexObjectsOfTheLastTwoFloorsAreKept"), edits: []edit{
		swap("tiering/journal.kept.has", "n.Seq == 0 || n.Seq >= k.from || k.names[n]", "n.Seq >= k.from || k.names[n]"),
	}},
	{name: "rule 23: a rotten checkpoint names nothing", plain: true, by: kept("TestALostCheckpointOfAFloorKeepsAllIndexObjects"), edits: []edit{
		swap("tiering/journal.keeping.now", "return nil, err", "continue"),
	}},
	{name: "rule 23: floors at any checkpoint", plain: true, by: kept("TestNoFloorMovesToIndexObjectsThatAreNotKept"), edits: []edit{
		never("tiering/journal.keeping.check", "len(lost) > 0"),
	}},
	{name: "rule 23: pages are not written again", plain: true, by: kept("TestALeaderWithIndexObjectsThatNoFloorKeeps"), edits: []edit{
		always("tiering/journal.Checkpointer.renew", "c.opt.Names == nil"),
	}},
	{name: "rule 23: a checkpoint with pages that no floor keeps", plain: true, by: kept("TestALeaderWithIndexObjectsThatNoFloorKeeps"), edits: []edit{
		never("tiering/journal.Checkpointer.Write", "err != nil || len(renewed) > 0"),
	}},
	{name: "rule 23: a state behind the floor takes its pages", by: tiers, edits: []edit{
		never("tiering/partlog.State.PageOf", "p.Head < head"),
	}},
	{name: "rule 23: a floor that is older than a page", by: tiers, edits: []edit{
		never("tiering/partlog.State.PageOf", "p.Seq > head"),
	}},
	{name: "rule 23: pages are removed during a hold", plain: true, by: catcher{"./tiering/sweep", "TestNoIndexObjectIsRemovedDuringAHold"}, edits: []edit{
		never("tiering/sweep.PageRemover.Run", "held || err != nil"),
	}},
	{name: "rule 23: pages are removed from the listing alone", plain: true, by: catcher{"./tiering/sweep", "TestIndexObjectsThatNoFloorKeepsAreRemoved"}, edits: []edit{
		never("tiering/sweep.PageRemover.list", "kept(name)"),
	}},
}
