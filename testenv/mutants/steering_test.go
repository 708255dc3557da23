package mutants

// steeringMutants are bugs of the choice of the node that a consumer reads from.
var steeringMutants = []mutant{
	{name: "clients that do not come back are sent away", by: letting("TestConsumersAreSentToFetchNodes"), plain: true, edits: []edit{
		never("cmd/internal/kafka.topology.nodesFor", "!steer.Returns(by.SoftwareName, by.SoftwareVersion)"),
	}},
	{name: "to a fetch node that the client does not reach", by: letting("TestConsumersAreSentToFetchNodes"), plain: true, edits: []edit{
		swap("cmd/internal/kafka.topology.nodesFor", "e.id == x.ID", "true"),
	}},
	{name: "a preferred replica in a version without it", by: letting("TestAFetchNodeSendsConsumersBack"), plain: true, edits: []edit{
		never("cmd/internal/kafka.fetching.sentBack", "f.request.Version < fetchReplicas"),
	}},
	{name: "fetch nodes are no replicas", by: letting("TestFetchNodesAreReplicasForClientsThatGoThere"), plain: true, edits: []edit{
		drop("cmd/internal/kafka.topology.replicas", "shown = append(shown, x.ID)"),
	}},
	{name: "a fetch node serves though it is about to end", by: letting("TestAFetchNodeSendsConsumersBack"), plain: true, edits: []edit{
		swap("cmd/internal/kafka.fetching.elsewhere", "nodes.Reads && !nodes.Leaving", "nodes.Reads"),
	}},
	{name: "a fetch node answers with errors without a proof", by: letting("TestAFetchNodeSendsConsumersBack"), plain: true, edits: []edit{
		always("cmd/internal/kafka.fetching.sentBack", "!ok || !nodes.Reads"),
	}},
	{name: "the tail leaves for another rack", by: steers("TestWhichReadsLeaveTheLeader"), plain: true, edits: []edit{
		swap("fetch/steer.Nodes.FromLeader", "len(near) == 0", "false").below("r.Tail && (r.Rack == n.Self.Rack || len(near) == 0)"),
	}},
	{name: "all nodes are in the client's rack", by: steers("TestWhichReadsLeaveTheLeader"), plain: true, edits: []edit{
		swap("fetch/steer.Nodes.inRack", "x.Rack == rack", "true"),
	}},
	{name: "pieces by the order of nodes", by: steers("TestFetchNodesShareTheWork"), plain: true, edits: []edit{
		swap("fetch/steer.choose", "w > heaviest", "false"),
	}},
	{name: "consumers go to a node that does not answer", by: reaching("TestTheFetchNodesThatAreCountedOn"), plain: true, edits: []edit{
		swap("cmd/internal/node.readers", "x.Lives()", "true"),
	}},
	{name: "consumers go to a node that is drained", by: reaching("TestTheFetchNodesThatAreCountedOn"), plain: true, edits: []edit{
		swap("cmd/internal/node.readers", "x.State == metadata.StateServing", "true"),
	}},
	{name: "consumers go to a node that writes", by: reaching("TestTheFetchNodesThatAreCountedOn"), plain: true, edits: []edit{
		swap("cmd/internal/node.readers", "!x.Ingests()", "true"),
	}},
}

func steers(test string) catcher { return catcher{"./fetch/steer", test} }
