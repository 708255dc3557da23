package mutants

const (
	front    = "./cmd/internal/kafka"
	nodeHere = "./cmd/internal/node"
)

// clientMutants are bugs of the answers that clients of a cluster get.
var clientMutants = []mutant{
	{name: "leader epoch without the base of the partition", by: catcher{nodeHere, "TestAPartitionIsPlacedAtTheLeaderOfItsJournal"}, plain: true, edits: []edit{
		swap("cmd/internal/node.node.placement", "int32(known.Epoch) + p.EpochBase", "int32(known.Epoch)"),
	}},
	{name: "partition placed at a node that has not opened it", by: catcher{nodeHere, "TestAPartitionIsPlacedAtTheLeaderOfItsJournal"}, plain: true, edits: []edit{
		swap("cmd/internal/node.node.placement", "known.Node == n.dir.Node() && !n.open(_)", "false"),
	}},
	{name: "request with an unknown outcome sent again", by: catcher{nodeHere, "TestTheControllerIsAskedUntilItHasTheRequest"}, plain: true, edits: []edit{
		never("cmd/internal/node.control.ask", "!errors.Is(err, kafka.ErrNotSent) && !errors.Is(err, kerr.NotController)"),
	}},
	{name: "broken connection taken for a refusal", by: catcher{nodeHere, "TestTheControllerIsAskedUntilItHasTheRequest"}, plain: true, edits: []edit{
		swap("cmd/internal/node.control.send", "outcome == membership.Refused || outcome == membership.Replaced", "err != nil && outcome != 0"),
	}},
	{name: "request that no controller has taken not sent again", by: catcher{front, "TestARequestIsSentAgainUntilAControllerHasIt"}, plain: true, edits: []edit{
		always("cmd/internal/kafka.forwarder.send", "!errors.Is(err, ErrNotSent) && !errors.Is(err, kerr.NotController)"),
	}},
	{name: "forwarded change answered before it is applied", by: catcher{front, "TestARequestIsSentAgainUntilAControllerHasIt"}, plain: true, edits: []edit{
		drop("cmd/internal/kafka.forwarder.send", "f.await(ctx, resp)"),
	}},
	{name: "topic called unknown without a proof", by: catcher{front, "TestATopicIsUnknownByAProof"}, plain: true, edits: []edit{
		always("cmd/internal/kafka.gate.topic", "!unknownTopic(err)"),
	}},
	{name: "proof that fails taken for one", by: catcher{front, "TestATopicIsUnknownByAProof"}, plain: true, edits: []edit{
		never("cmd/internal/kafka.gate.proved", "err != nil"),
	}},
	{name: "partition called unknown without a proof", by: catcher{front, "TestAPartitionIsUnknownByAProof"}, plain: true, edits: []edit{
		drop("cmd/internal/kafka.gate.withPartition", "if err := g.proved(r); err != nil {_}"),
	}},
	{name: "session keeps the answer that a topic is unknown", by: catcher{front, "TestASessionAsksAgainForAnUnknownTopic"}, plain: true, edits: []edit{
		swap("cmd/internal/kafka.fetchSession.update", "s.resolveSome(f, slices.AppendSeq(changed, maps.Keys(s.failed)))", "s.resolveSome(f, changed)"),
	}},
	{name: "proof of before the request shared", by: catcher{nodeHere, "TestProofsAreShared"}, plain: true, edits: []edit{
		swap("cmd/internal/node.sharedProof.Since", "!p.began.IsZero() && !p.began.Before(moment)", "!p.began.IsZero()"),
	}},
	{name: "offsets of an unknown topic forgotten without a proof", by: catcher{nodeHere, "TestATopicIsGoneByAProof"}, plain: true, edits: []edit{
		swap("cmd/internal/node.goneTopics.known", "return !g.proved.Before(since)", "return true"),
	}},
	{name: "block of producer ids used twice", by: catcher{nodeHere, "TestProducerIDsComeFromBlocks"}, plain: true, edits: []edit{
		swap("cmd/internal/node.producerIDs.take", "p.have, p.next = p.next, metadata.ProducerIDBlock{}", "p.have = p.next"),
	}},
	{name: "answer does not wait for the next leader", by: catcher{front, "TestAnswersWaitForTheNextLeader"}, plain: true, edits: []edit{
		drop("cmd/internal/kafka.topology.awaitLeaders", "t.await(ctx, journals)"),
	}},
	{name: "coordinator not awaited", by: catcher{nodeHere, "TestACoordinatorIsAwaited"}, plain: true, edits: []edit{
		drop("cmd/internal/node.node.coordinatorOf", "n.awaitLeaders(ctx, []uint32{t.Partitions[partition].Journal})"),
	}},
	{name: "answer names a leader that has just died", by: catcher{nodeHere, "TestAnAnswerWaitsWhileTheLeaderMayHaveDied"}, plain: true, edits: []edit{
		swap("cmd/internal/node.node.awaitLeaders", "!leader.IsZero() && !n.loses(leader)", "!leader.IsZero()"),
	}},
	{name: "the end of a leader's connection is not noticed", by: catcher{nodeHere, "TestANodeThatLeadsIsWatched"}, plain: true, edits: []edit{
		drop("cmd/internal/node.watching.keep", "x.lost.Store(true)"),
	}},
	{name: "journal without a leader awaited each time", by: catcher{nodeHere, "TestAJournalWithoutALeaderIsAwaitedForAWhile"}, plain: true, edits: []edit{
		swap("cmd/internal/node.leaderless.notes", "return now.Sub(since) < leaderWait", "return !since.After(now)"),
	}},
}
