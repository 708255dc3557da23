package mutants

func reaching(test string) catcher { return catcher{"./cmd/internal/node", test} }

func letting(test string) catcher { return catcher{"./cmd/internal/kafka", test} }

// peerMutants are bugs of the way in which nodes reach and let in each other, and ask the
// bucket.
var peerMutants = []mutant{
	{name: "another start answers for a run", by: reaching("TestAHandshakeShowsWhichProcessAnswers"), plain: true, edits: []edit{
		never("cmd/internal/node.peers.handshake", "!run.Start.IsZero() && start != run.Start"),
	}},
	{name: "another node is silence", by: reaching("TestAHandshakeShowsWhichProcessAnswers"), plain: true, edits: []edit{
		swap("cmd/internal/node.replaces", "errors.Is(err, peer.ErrStranger)", "false"),
	}},
	{name: "a wrong proof is silence", by: reaching("TestAHandshakeShowsWhichProcessAnswers"), plain: true, edits: []edit{
		swap("cmd/internal/node.replaces", "errors.Is(err, peer.ErrProof)", "false"),
	}},
	{name: "a refused connection is silence", by: reaching("TestAHandshakeShowsWhichProcessAnswers"), plain: true, edits: []edit{
		swap("cmd/internal/node.peers.dial", "errors.Is(failure, syscall.ECONNREFUSED)", "errors.Is(failure, syscall.EPERM)"),
	}},
	{name: "a connection that closes is refused", by: reaching("TestSilenceIsNoAnswer"), plain: true, edits: []edit{
		swap("cmd/internal/node.peers.dial", "errors.Is(failure, syscall.ECONNREFUSED)", "errors.Is(failure, syscall.ECONNREFUSED) || ctx.Err() == nil"),
	}},
	{name: "a key that is not known is another node", by: reaching("TestKeysAreReadWhenTheyAreNeeded"), plain: true, edits: []edit{
		swap("cmd/internal/node.replaces", "errors.Is(err, errStart)", "errors.Is(err, errStart) || mayLackKey(err)"),
	}},
	{name: "own keys are not read again", by: reaching("TestNodesThatReadHaveTheirOwnKey"), plain: true, edits: []edit{
		drop("cmd/internal/node.peers.dial", "p.reload(ctx, run)"),
	}},
	{name: "a node that reads is dialed with the key of those that write", by: reaching("TestNodesThatReadHaveTheirOwnKey"), plain: true, edits: []edit{
		swap("cmd/internal/node.peers.role", "run.Roles&metadata.RoleIngest != 0", "true"),
	}},
	{name: "heartbeats wait for probes", by: reaching("TestHeartbeatsDoNotWaitForProbes"), plain: true, edits: []edit{
		never("cmd/internal/node.peers.Call", "r.Kind == peer.KindHeartbeat || r.Kind == peer.KindQuestion"),
	}},
	{name: "a forwarded request is sent again", by: reaching("TestAForwardedRequestIsSentOnce"), plain: true, edits: []edit{
		swap("cmd/internal/node.lane.request", "twice && c.used && ctx.Err() == nil", "ctx.Err() == nil"),
	}},
	{name: "the old address is called", by: reaching("TestANodeThatStartsAgainIsFound"), plain: true, edits: []edit{
		always("cmd/internal/node.lane.connection", "c.address == address"),
	}},
	{name: "the end of a connection is not noticed", by: reaching("TestANodeThatStartsAgainIsFound"), plain: true, edits: []edit{
		drop("cmd/internal/node.lane.broken", "l.peers.lost(l.node)"),
	}},
	{name: "a fence proves a leadership", by: reaching("TestAClaimIsCheckedByItsObject"), plain: true, edits: []edit{
		swap("cmd/internal/node.probes.Check", "h.Kind != segment.KindFence", "true"),
	}},
	{name: "an object that is there is a probe", by: reaching("TestAProbeWritesAndLeavesNothing"), plain: true, edits: []edit{
		swap("cmd/internal/node.probes.Probe", "err != nil", "err != nil && !errors.Is(err, objstore.ErrExists)"),
	}},
	{name: "a connection that proved nothing is a node", by: letting("TestRequestsOfNodesNeedAProof"), plain: true, edits: []edit{
		never("cmd/internal/kafka/listener.registry.find", "a != nil && a.Peers && to.Peer == (Peer{})"),
	}},
	{name: "a node that reads asks for journals", by: letting("TestNodesThatReadMaySendLess"), plain: true, edits: []edit{
		never("cmd/internal/kafka.peerService.handler", "r.Client.Peer.Reads && !reads"),
	}},
	{name: "a node that reads reports journals", by: letting("TestNodesThatReadMaySendLess"), plain: true, edits: []edit{
		never("cmd/internal/kafka.peerService.heartbeat", "err == nil && from.Reads && len(h.Journals) > 0"),
	}},
	{name: "the end of heartbeats is not noticed", by: letting("TestTheEndOfHeartbeatsIsReported"), plain: true, edits: []edit{
		never("cmd/internal/kafka.peerService.missed", "s.gone != nil"),
	}},
	{name: "a proof is tried twice", by: letting("TestAProofIsTriedOnce"), plain: true, edits: []edit{
		swap("cmd/internal/kafka.peerService.beginProof", "r.Show(_)", `if err == nil {
	r.Show(func(c *listener.Client) {
		c.Peer = listener.Peer{Node: p.Node, Start: p.Start, Reads: p.Key != segment.PeerIngest}
	})
}`),
	}},
}
