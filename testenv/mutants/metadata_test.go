package mutants

var nodes = catcher{"./metadata", "TestContradictionsOfNodesChangeNothing"}

// requests are those of administrators about nodes.
var requests = catcher{"./metadata", "TestNodesAndJournalsAreChangedThroughTheController"}

var metadataMutants = []mutant{
	{name: "change answered before it is committed", by: metadata, edits: []edit{
		swap("metadata.leading.answer", "l.waiting[0].upTo <= l.committed", "l.waiting[0].upTo <= l.planned"),
	}},
	{name: "producer ids given without a commit", by: metadata, edits: []edit{
		swap("metadata.leading.nextProducerID", "return entries, id, err", "return nil, id, err"),
	}},
	{name: "deletions forgotten by a restored controller", by: metadata, edits: []edit{
		swap("metadata.decodeTopics", "deleting == 1", "deleting == 2"),
	}},
	{name: "controller plans on an older state", by: metadata, edits: []edit{
		swap("metadata.leading.Led", "NewController(l.opt.State, l.opt.Defaults)", "NewController(New(), l.opt.Defaults)"),
	}},
	{name: "change answered when one before it is committed", by: metadata, edits: []edit{
		swap("metadata.leading.Apply", "l.committed = l.proposed[0]", "l.committed = l.proposed[len(l.proposed)-1]"),
	}},
	{name: "creation answered before the partitions are open", by: metadata, edits: []edit{
		never("metadata.leading.reached", "led && seq < a.seq"),
	}},
	{name: "creation answered by a report of the view before", by: metadata, edits: []edit{
		swap("metadata.leading.awaitOpen", "l.opt.State.Head()", "l.opt.State.Head() - 1"),
	}},
	{name: "deletion answered before the partitions are sealed", by: metadata, edits: []edit{
		swap("metadata.leading.reached", "!slices.ContainsFunc(a.topics, l.goes)", "true"),
	}},
	{name: "topic purged before it is sealed", by: metadata, edits: []edit{
		swap("metadata.leading.sealed", "seq < d.seq", "seq < d.seq-1"),
	}},
	{name: "topic purged within its grace", by: metadata, edits: []edit{
		swap("metadata.leading.due", "l.grace(going[i]) > 0", "false"),
	}},
	{name: "restored topic not placed", by: metadata, edits: []edit{
		drop("metadata.placements.follow", "p.change(seq, c.ID, m)").below("TopicRestored"),
	}},
	{name: "topic restored next to another of its name", by: metadata, edits: []edit{
		never("metadata.TopicRestored.apply", "other != nil"),
		drop("metadata.Controller.RestoreTopics", "if err := c.checkFree(t.Name); err != nil {\n\treturn nil, err\n}"),
	}},
	{name: "names of deleted topics in use below level 2", by: catcher{"./metadata", "TestNothingNewIsWrittenBelowItsLevel"}, plain: true, edits: []edit{
		always("metadata.image.taken", "t != nil || m.level >= LevelTiering"),
	}},
	{name: "deletion not placed", by: metadata, edits: []edit{
		drop("metadata.placements.follow", "p.change(seq, c.ID, m)").below("TopicDeleted"),
	}},
	{name: "last node that serves drained", by: nodes, plain: true, edits: []edit{
		never("metadata.image.checkSet", "to != StateLeaving && m.lastServing(n)"),
	}},
	{name: "the controller removes itself", by: requests, plain: true, edits: []edit{
		never("metadata.Leader.SetNode", "state == StateRemoved && id == l.life.leading.nodeID"),
	}},
	{name: "a check of a request about nodes plans it", by: requests, plain: true, edits: []edit{
		swap("metadata.Leader.try", "c.trial()", "c"),
	}},
	{name: "a dead node takes the place of one that lives", by: nodes, plain: true, edits: []edit{
		swap("metadata.image.lastServing", "other.Lives() || !n.Lives()", "true"),
	}},
	{name: "removed node comes back", by: nodes, plain: true, edits: []edit{
		never("metadata.image.known", "n.State == StateRemoved"),
	}},
	{name: "drained node assigned a journal", by: nodes, plain: true, edits: []edit{
		swap("metadata.JournalAssigned.apply", "!n.Serves()", "!n.Ingests()"),
	}},
	{name: "fenced node assigned a journal", by: nodes, plain: true, edits: []edit{
		swap("metadata.JournalAssigned.apply", "!n.Lives()", "false"),
	}},
	{name: "node removed that has a journal", by: nodes, plain: true, edits: []edit{
		never("metadata.image.checkSet", "a.Node == n.Node || a.Home == n.Node"),
	}},
	{name: "runs forgotten by a restored controller", by: catcher{"./metadata", "TestRandomChangesOfNodes"}, edits: []edit{
		drop("metadata.decodeNodes", "n.State, n.Fence = NodeState(r.U8()), Fence(r.U8())"),
	}},
	{name: "broker id drawn again", by: metadata, edits: []edit{
		swap("metadata.Controller.RegisterNode", `if n, ok := c.img.nodes[node]; ok {
	return nil, n.ID, nil
}`, `if _, ok := c.img.nodes[node]; ok {
	return nil, c.img.nextNode(), nil
}`),
	}},
}
