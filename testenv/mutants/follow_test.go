package mutants

var followMutants = []mutant{
	{name: "journal followed again from the same checkpoint", by: follows, edits: []edit{
		never("fetch/follow.core.loaded", "j.shown.id != 0 && from <= j.shown.from"),
	}},
	{name: "two renewals of a journal at a time", by: follows, edits: []edit{
		swap("fetch/follow.core.grew", "j.idle()", "true"),
	}},
	{name: "end of an attempt forgotten while the next one is under way", by: follows, edits: []edit{
		drop("fetch/follow.core.ended", "j.ended = true"),
	}},
	{name: "attempt that was replaced not closed", by: follows, edits: []edit{
		drop("fetch/follow.core.caughtUp", "c.world.drop(id, before.id)"),
	}},
	{name: "error that passes ends a node that reads", by: follows, edits: []edit{
		always("fetch/follow.core.failed", "!c.started || c.stays(err)"),
	}},
	{name: "reader ready before all journals are", by: follows, edits: []edit{
		never("fetch/follow.core.checkReady", "j.shown.id == 0"),
	}},
}
