package mutants

var (
	members    = catcher{"./metadata/membership/drive", "TestSimulation"}
	candidates = catcher{"./metadata/membership", "TestWhenANodeStands"}
	joins      = catcher{"./metadata/membership", "TestRegistrationsAreAnsweredByHandshakes"}
	handOvers  = catcher{"./metadata/membership", "TestHandOverThatIsNotDoneIsWithdrawn"}
	leavers    = catcher{"./metadata/membership", "TestNodeThatIsToEndLeaves"}
)

// evidenceMutants are bugs of the evidence against nodes.
var evidenceMutants = []mutant{
	{name: "silence after one handshake", by: members, edits: []edit{
		swap("metadata/membership.detector.needed", "return silentTries", "return 1"),
	}},
	{name: "a refusal is no evidence", by: members, edits: []edit{
		drop("metadata/membership.detector.dialed", "p.die(now, metadata.FencedRefused)"),
	}},
	{name: "another process answers for a node", by: members, edits: []edit{
		swap("metadata/membership.detector.dialed", "p.die(now, metadata.FencedReplaced)", "p.hear(now)"),
	}},
	{name: "mistakes teach nothing", by: catcher{"./metadata/membership", "TestMistakesDoubleTheHandshakes"}, plain: true, edits: []edit{
		drop("metadata/membership.detector.beat", "d.mistaken(now, p)"),
	}},
	{name: "a controller that stood still blames others", by: catcher{"./metadata/membership", "TestControllerThatStoodStillHasHeardAll"}, plain: true, edits: []edit{
		never("metadata/membership.Judge.Step", "j.leading && now.Sub(j.now) > stalledAfter"),
	}},
	{name: "a new controller waits for silence first", by: members, edits: []edit{
		never("metadata/membership.detector.due", "p.first && n.Lives()"),
	}},
	{name: "every controller has a majority", by: members, edits: []edit{
		swap("metadata/membership.Judge.fences", "j.detector.majority(j.now, j.cluster)", "true"),
	}},
	{name: "without a majority moving journals are taken", by: members, edits: []edit{
		swap("metadata/membership.Judge.still", "still && j.journals[a.Journal].progress.unmoved(unmovedFor)", "still"),
	}},
	{name: "nodes fenced for silence are no voters", by: catcher{"./metadata/membership", "TestSmallPartStaysSmall"}, plain: true, edits: []edit{
		swap("metadata/membership.detector.majority", "(p == nil || !p.silent)", "true"),
	}},
	{name: "no entry for a silent node", by: members, edits: []edit{
		drop("metadata/membership.Judge.mustShow", "every = contestEvery"),
	}},
	{name: "no entry for a fenced node", by: members, edits: []edit{
		drop("metadata/membership.Judge.mustShow", "every = aliveEvery"),
	}},
	{name: "fenced node back without a handshake", by: catcher{"./metadata/membership", "TestFencedNodeMustBeReached"}, plain: true, edits: []edit{
		swap("metadata/membership.detector.back", "p.proved", "true"),
	}},
	{name: "registered without a handshake", by: members, edits: []edit{
		swap("metadata/membership.Judge.joining", "j.dialJoin(x)", "j.answer(ev.Token, nil)"),
	}},
	{name: "registered next to its copy", by: joins, plain: true, edits: []edit{
		drop("metadata/membership.Judge.joining", "x.before, x.checking = n.Run, true"),
	}},
	{name: "a copy does not look for the other", by: members, edits: []edit{
		always("metadata/membership.Member.alone", "n == nil || n.State == 0 || n.Run.Start == m.run.Start"),
	}},
}

// assignmentMutants are bugs of the assignment of journals.
var assignmentMutants = []mutant{
	{name: "blocked by a store that is away for all", by: members, edits: []edit{
		swap("metadata/membership.stores.probed", "x.token = 0", "x.good, x.token, x.asked = now, 0, time.Time{}"),
	}},
	{name: "blocked leaders stay", by: members, edits: []edit{
		never("metadata/membership.Judge.assignments", "l.blocked"),
	}},
	{name: "blocked controllers stay", by: members, edits: []edit{
		never("metadata/membership.Judge.probeBlocked", "x != nil && x.decided && late"),
	}},
	{name: "hand-overs have no end", by: members, edits: []edit{
		swap("metadata/membership.Judge.watchHandOver", "!l.declined && waited < handOverLimit", "!l.declined"),
	}},
	{name: "a hand-over waits for a node that says it takes", by: handOvers, plain: true, edits: []edit{
		swap("metadata/membership.Judge.watchHandOver", "!l.declined && waited < handOverLimit", "l.taking > 0 && l.taking < takingLimit || !l.declined && waited < handOverLimit"),
	}},
	{name: "a hand-over that is declined waits", by: handOvers, plain: true, edits: []edit{
		swap("metadata/membership.Judge.report", "r.Declined > 0 && r.Declined == l.number", "false"),
	}},
	{name: "the refusal of an earlier hand-over ends this one", by: handOvers, plain: true, edits: []edit{
		swap("metadata/membership.Judge.report", "r.Declined > 0 && r.Declined == l.number", "r.Declined > 0"),
	}},
	{name: "a journal that is handed over goes to a third node", by: catcher{"./metadata/membership", "TestJournalThatIsHandedOverStaysWithItsLeader"}, plain: true, edits: []edit{
		swap("metadata/membership.Judge.pick", "n.Node == l.leader || n.Node == a.Home && j.returns(a, l)", "n.Node == a.Home && j.returns(a, l)"),
	}},
	{name: "a node that is to end does not leave", by: leavers, plain: true, edits: []edit{
		drop("metadata/membership.Judge.judge", "j.leaves(d)"),
	}},
	{name: "a run leaves for the next one", by: leavers, plain: true, edits: []edit{
		swap("metadata/membership.Judge.leaves", "j.leaving[n.Node] == n.Run.Start", "!j.leaving[n.Node].IsZero()"),
	}},
	{name: "a plan that is refused is made again at once", by: catcher{"./metadata/membership", "TestPlanThatFailsIsMadeAgainLater"}, plain: true, edits: []edit{
		never("metadata/membership.Judge.judge", "j.failed && j.now.Sub(j.planned) < planAgainAfter"),
	}},
	{name: "a journal moves by the first probe that succeeds", by: catcher{"./metadata/membership", "TestStoreIsAskedAgainBeforeAJournalMoves"}, plain: true, edits: []edit{
		after("metadata/membership.stores.probed", "x.good, x.token, x.asked = now, 0, time.Time{}", "x.decided = true"),
	}},
	{name: "home at once after each move", by: members, edits: []edit{
		swap("metadata/membership.Judge.returns", "doubled(homeAfter, int(a.Moves)-1, homeMost)", "homeAfter"),
	}},
	{name: "a loop that hangs keeps its journal", by: members, edits: []edit{
		never("metadata/membership.Judge.stuck", "j.now.Sub(l.ran) >= loopSilentAfter"),
	}},
	{name: "a locked key is for each node in turn", by: members, edits: []edit{
		swap("metadata/membership.Judge.stuck", "l.taking >= takingLimit", "l.taking >= 5*time.Second"),
	}},
	{name: "no journal is parked", by: members, edits: []edit{
		never("metadata/membership.Judge.replace", "a.Deaths >= parkAfter && quick"),
	}},
	{name: "a drained controller stays", by: members, edits: []edit{
		drop("metadata/membership.Judge.judge", "j.yield()"),
	}},
	{name: "takes by an old state of journal 0", by: catcher{"./metadata/membership", "TestWhoMayTakeAJournal"}, plain: true, edits: []edit{
		swap("metadata/membership.Taking.MayFence", "!t.Proved", "false"),
	}},
	{name: "takes without asking the leader", by: members, edits: []edit{
		swap("metadata/membership.Taking.MayFence", "t.Silent >= leaderSilentAfter && t.Handshake == TimedOut", "true"),
	}},
	{name: "waits for a leader that denies it", by: catcher{"./metadata/membership", "TestWhoMayTakeAJournal"}, plain: true, edits: []edit{
		swap("metadata/membership.Taking.MayFence", "t.Denied", "false"),
	}},
}

// electionMutants are bugs of the election of a controller, and of the answers about leaders.
var electionMutants = []mutant{
	{name: "stands although another hears the controller", by: members, edits: []edit{
		swap("metadata/membership.Member.mayStand", "t.alive || t.waits", "t.waits"),
	}},
	{name: "an opinion of an old controller counts", by: catcher{"./metadata/membership", "TestOpinionsOfOldControllersDoNotCount"}, plain: true, edits: []edit{
		swap("metadata/membership.Member.count", "a.reply.Opinion == Alive && a.reply.Controller.Epoch >= m.controller.Epoch", "a.reply.Opinion == Alive"),
	}},
	{name: "stands by replies of before", by: catcher{"./metadata/membership", "TestLastQuestionBeforeANodeStands"}, plain: true, edits: []edit{
		never("metadata/membership.Member.elect", "turn > 0 && m.now.Sub(e.clear) >= turn && !m.asked(e.clear.Add(turn))"),
	}},
	{name: "a contest makes no node patient", by: catcher{"./metadata/membership", "TestContestMakesPatient"}, plain: true, edits: []edit{
		swap("metadata/membership.fences.contested", "doubled(unmovedFor, changes, contestedMost)", "unmovedFor"),
	}},
	{name: "hands over by any assignment", by: catcher{"./metadata/membership", "TestWhoMayTakeAJournal"}, plain: true, edits: []edit{
		swap("metadata/membership.HandsOver", "a.Number == number", "true"),
	}},
	{name: "stands next to another that stands", by: candidates, plain: true, edits: []edit{
		swap("metadata/membership.Member.mayStand", "t.alive || t.waits", "t.alive"),
	}},
	{name: "stands without a majority", by: members, edits: []edit{
		swap("metadata/membership.Member.mayStand", "t.answered*2 > t.voters", "t.answered > 0"),
	}},
	{name: "stands fenced like any other", by: members, edits: []edit{
		never("metadata/membership.Member.mayStand", "!self.Lives()"),
	}},
	{name: "refusals convince a fenced node", by: members, edits: []edit{
		swap("metadata/membership.Member.mayStand", "self.Lives() && wait == unmovedFor", "true"),
	}},
	{name: "a silent controller has no second chance", by: members, edits: []edit{
		swap("metadata/membership.Member.mayStand", "m.controllerMayAnswer()", "false"),
	}},
	{name: "all stand at once", by: candidates, plain: true, edits: []edit{
		drop("metadata/membership.Member.turn", "before++"),
	}},
	{name: "a node that only reads asks like the others", by: catcher{"./metadata/membership", "TestANodeThatOnlyReadsFindsTheController"}, plain: true, edits: []edit{
		never("metadata/membership.Member.elect", "m.reads()"),
	}},
	{name: "stands without a store", by: members, edits: []edit{
		never("metadata/membership.Member.probed", "!ev.OK"),
	}},
	{name: "a drained node stands like any other", by: candidates, plain: true, edits: []edit{
		never("metadata/membership.Member.mayStand", "self.State != metadata.StateServing && t.serving"),
	}},
	{name: "a stranger does not look at the journals", by: members, edits: []edit{
		swap("metadata/membership.Member.strangerStands", "waited >= strangerWait && m.nothingMoves()", "waited >= strangerWait"),
	}},
	{name: "the fence of another is given no time", by: catcher{"./metadata/membership", "TestFenceOfAnotherIsGivenTime"}, plain: true, edits: []edit{
		drop("metadata/membership.Member.take", "m.fenced(Fenced(ev))"),
	}},
	{name: "claims believed without a look", by: members, edits: []edit{
		swap("metadata/membership.View.Checked", "ok && l.Epoch > s.leader.Epoch", "l.Epoch > s.leader.Epoch"),
	}},
	{name: "announcements hold back claims of nodes", by: catcher{"./metadata/membership", "TestForgedAnnouncementsDoNotHoldBackClaimsOfNodes"}, plain: true, edits: []edit{
		swap("metadata/membership.View.Claimed", "if l.Epoch > s.claims[from].Epoch {\n\ts.claims[from] = l\n}", "s.claims[FromNode] = l"),
	}},
	{name: "answers go back to a lower epoch", by: members, edits: []edit{
		swap("metadata/membership.View.Claimed", "l.Epoch <= s.leader.Epoch", "false"),
		swap("metadata/membership.View.Claimed", "l.Epoch < s.highest", "false"),
		swap("metadata/membership.seen.check", "s.checks || l.Epoch <= s.leader.Epoch || l.Epoch < s.highest", "s.checks || l.Epoch == 0"),
		swap("metadata/membership.View.Checked", "ok && l.Epoch > s.leader.Epoch && l.Epoch >= s.highest", "ok"),
	}},
	{name: "a deposed leader names itself", by: members, edits: []edit{
		swap("metadata/membership.View.Leader", "now.Sub(s.proved) >= proveAfter", "false"),
	}},
}

func drivers(test string) catcher { return catcher{"./metadata/membership/drive", test} }

// driverMutants are bugs of the way in which the cores learn of things.
var driverMutants = []mutant{
	{name: "acts by a head of journal 0 that is not proved", by: drivers("TestNothingIsDoneBeforeTheHeadOfJournal0WasProved"), plain: true, edits: []edit{
		always("metadata/membership/drive.Driver.Applied", "d.begun()"),
	}},
	{name: "the Member learns before the Judge", by: drivers("TestTheJudgeHasTheStateBeforeTheMember"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.applied", "d.judged(membership.Applied{Cluster: c})"),
		after("metadata/membership/drive.Driver.applied", "d.membered(membership.Applied{Cluster: c})", "d.enter(func() { d.judged(membership.Applied{Cluster: c}) })"),
	}},
	{name: "an outcome comes in the middle of another event", by: drivers("TestOutcomesAtOnceAreEventsOfTheirOwn"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.enter", "d.busy = true"),
	}},
	{name: "a plan of an earlier leadership counts", by: drivers("TestPlansOfAnEarlierLeadershipSayNothing"), plain: true, edits: []edit{
		always("metadata/membership/drive.Driver.plan", "d.turn == turn"),
	}},
	{name: "a second outcome counts", by: drivers("TestPlansOfAnEarlierLeadershipSayNothing"), plain: true, edits: []edit{
		drop("metadata/membership/drive.once", "over = true"),
	}},
	{name: "a deposed controller judges", by: drivers("TestRegistrationsAreAnswered"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.deposed", "d.judged(membership.Deposed{})"),
	}},
	{name: "a late commit makes a controller", by: drivers("TestADeposedControllerPlansNothing"), plain: true, edits: []edit{
		always("metadata/membership/drive.Driver.Ready", "d.led[0] > 0"),
	}},
	{name: "reports of heartbeats are no claims", by: drivers("TestEachClaimIsChecked"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.Heartbeat", "d.claimed(membership.FromNode, h.Journals[i].Leader)"),
	}},
	{name: "questions are no claims", by: drivers("TestEachClaimIsChecked"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.Question", "d.claimed(membership.FromNode, about)"),
	}},
	{name: "answers to questions are no claims", by: drivers("TestEachClaimIsChecked"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.ask", "d.claimed(membership.FromNode, ev.Controller)"),
	}},
	{name: "answers to heartbeats are no claims", by: drivers("TestEachClaimIsChecked"), plain: true, edits: []edit{
		swap("metadata/membership/drive.Driver.beat", "d.claimed(membership.FromNode, l)", "_ = l"),
	}},
	{name: "the Member does not learn of a controller", by: drivers("TestEachClaimIsChecked"), plain: true, edits: []edit{
		never("metadata/membership/drive.Driver.check", "believed && l.Journal == 0"),
	}},
	{name: "a rival is not looked for", by: drivers("TestAClaimAboutAJournalThatIsLedHereIsProved"), plain: true, edits: []edit{
		never("metadata/membership/drive.Driver.claimed", "epoch > 0 && l.Epoch > epoch"),
	}},
	{name: "claims about any journal are remembered", by: drivers("TestClaimsAboutUnknownJournalsAreForgotten"), plain: true, edits: []edit{
		swap("metadata/membership/drive.Driver.claimed", "d.cluster.Assignment(l.Journal) == nil", "false"),
	}},
	{name: "a leader takes records whatever nodes say", by: catcher{"./cmd/internal/node", "TestALeaderThatIsSaidToBeDeposedTakesNothing"}, plain: true, edits: []edit{
		swap("cmd/internal/node.node.appender", "!n.leaders.Leader(id).Doubted", "true"),
	}},
	{name: "announcements have a leader doubted", by: drivers("TestAClaimAboutAJournalThatIsLedHereIsProved"), plain: true, edits: []edit{
		swap("metadata/membership.View.Claimed", "from == FromNode && l.Node != v.self", "l.Node != v.self"),
	}},
	{name: "a proof of before a claim refutes it", by: drivers("TestAClaimAboutAJournalThatIsLedHereIsProved"), plain: true, edits: []edit{
		never("metadata/membership.doubt.proved", "began.Before(d.since)"),
	}},
	{name: "a claim that was refuted counts again", by: drivers("TestAClaimAboutAJournalThatIsLedHereIsProved"), plain: true, edits: []edit{
		swap("metadata/membership.doubt.claimed", "max(d.epoch, d.refuted)", "d.epoch"),
	}},
	{name: "one look only after a claim", by: drivers("TestAClaimAboutAJournalThatIsLedHereIsProved"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.Tick", "d.proveDoubted()"),
	}},
	{name: "a node that takes a journal claims it", by: drivers("TestAClaimAboutAJournalThatIsLedHereIsProved"), plain: true, edits: []edit{
		always("metadata/membership/drive.Driver.Heartbeat", "h.Journals[i].Leads"),
	}},
	{name: "a controller does not hear itself", by: drivers("TestTheControllerHearsItself"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.beat", "d.judged(membership.Heard{Heartbeat: h})"),
	}},
	{name: "a question is answered by the past", by: drivers("TestAQuestionIsAnsweredByThePresent"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.Question", "d.membered(membership.Tick{})"),
	}},
	{name: "an answer that cannot be read is one", by: drivers("TestAnAnswerThatCannotBeReadIsNone"), plain: true, edits: []edit{
		drop("metadata/membership/drive.Driver.ask", "ev = membership.Replied{Token: a.Token, Outcome: membership.TimedOut}"),
	}},
}
