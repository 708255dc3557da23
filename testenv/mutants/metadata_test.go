package mutants

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
	{name: "broker id drawn again", by: metadata, edits: []edit{
		swap("metadata.Controller.RegisterNode", `if id, ok := c.img.nodes[node]; ok {
	return nil, id, nil
}`, `if _, ok := c.img.nodes[node]; ok {
	return nil, c.img.nextNode(), nil
}`),
	}},
}
