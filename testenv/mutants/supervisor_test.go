package mutants

var supervisorMutants = []mutant{
	{name: "coordinator outlives a leadership", by: supervisors, edits: []edit{
		swap("metadata/coordinator/supervisor.Core.Look", "wanted[partition] != t", "wanted[partition].Key != t.Key"),
	}},
	{name: "partition that is not open not looked at again", by: supervisors, edits: []edit{
		drop("metadata/coordinator/supervisor.View.wanted", "again = true"),
	}},
	{name: "coordinator that did not start taken for one that runs", by: supervisors, edits: []edit{
		drop("metadata/coordinator/supervisor.Supervisor.Look", "s.core.Failed(t)"),
	}},
	{name: "coordinator not closed when it stops", by: supervisors, edits: []edit{
		swap("metadata/coordinator/supervisor.Supervisor.stop", "c.shard.Close()", "_ = c"),
	}},
	{name: "deletion under way hidden from a new coordinator", by: supervisors, edits: []edit{
		never("metadata/coordinator/supervisor.Core.Look", "len(v.Deleting) > 0"),
	}},
	{name: "deletion reported at each look", by: supervisors, edits: []edit{
		swap("metadata/coordinator/supervisor.Core.reports", "!c.deleted[id]", "true"),
	}},
	{name: "snapshot of a gone topic kept", by: supervisors, edits: []edit{
		never("metadata/coordinator/supervisor.Core.Look", "s.Gone"),
	}},
	{name: "deposed coordinator given to clients", by: supervisors, edits: []edit{
		swap("metadata/coordinator/supervisor.Supervisor.Coordinator", "s.Confirm(ctx, partition)", "error(nil)"),
	}},
	{name: "coordinator proved without its journal", by: supervisors, edits: []edit{
		swap("metadata/coordinator/supervisor.proveHead", "j.Prove(ctx)", "j.Confirm(ctx)"),
	}},
	{name: "coordinator started after the close", by: supervisors, edits: []edit{
		never("metadata/coordinator/supervisor.Core.Look", "c.closed"),
	}},
}
