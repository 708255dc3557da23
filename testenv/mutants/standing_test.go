package mutants

var standingMutants = []mutant{
	{name: "partition of a session not notified of moves", by: standings, edits: []edit{
		drop("fetch.standing.attach", "j.State.Attach(p.Key, p)"),
	}},
	{name: "new epoch of a journal hidden from sessions", by: standings, edits: []edit{
		never("fetch.fetch.visitHomes", "view.State.Epoch() != h.epoch"),
	}},
	{name: "journal that was replaced still watched by sessions", by: standings, edits: []edit{
		never("fetch.fetch.visitHomes", "err != nil || view.State != h.state"),
	}},
	{name: "deposed leader answers sessions with nothing", by: standings, edits: []edit{
		never("fetch.fetch.confirmHomes", "!led"),
	}},
	{name: "partition of a session with an error not looked at again", by: standings, edits: []edit{
		never("fetch.Standing.Settle", "!l.quiet"),
	}},
	{name: "answer of a session that was lost not given again", by: standings, edits: []edit{
		swap("fetch.Standing.unsettled", "s.queue(l.standing)", "_ = l"),
	}},
	{name: "partition of a session that its client changed not looked at", by: standings, edits: []edit{
		drop("fetch.Standing.Set", "s.queue(in)"),
	}},
}
