package mutants

// lifeMutants are about journals that are led more than once by a process.
var lifeMutants = []mutant{
	{name: "rule 4: an answer to an earlier leadership counts", by: core, edits: []edit{
		never("tiering/journal.Core.putDone", "ev.Token < s.first"),
	}},
	{name: "rule 8: a follower that stands does not look beyond its gap", by: lives("TestAFollowerThatStandsLooksBeyondTheGap"), plain: true, edits: []edit{
		never("tiering/journal.Core.gotFloor", "c.stands").below("c.atEnd"),
	}},
	{name: "standing: by a follower's proof", by: lives("TestStandingBelongsToOneLeadership"), plain: true, edits: []edit{
		swap("tiering/journal.Driver.Prove", "err == nil && d.core.Stands()", "err == nil"),
	}},
	{name: "standing: of the leadership before", by: lives("TestStandingBelongsToOneLeadership"), plain: true, edits: []edit{
		drop("tiering/journal.Driver.notify", "d.standing.End()").below("Deposed"),
	}},
	{name: "life: leads again under the name of before", by: lives("TestADeposedLeaderReadsOnAndLeadsAgain"), plain: true, edits: []edit{
		swap("tiering/journal.Core.stand", "c.stands, c.incarnation, c.patient = true, how.Incarnation, how.Patient", "c.stands, c.patient = true, how.Patient"),
	}},
	{name: "life: objects of the leadership before kept", by: core, edits: []edit{
		drop("tiering/journal.Core.depose", "c.dropSlots(len(c.slots))"),
	}},
	{name: "life: reads of the leadership before count", by: core, edits: []edit{
		drop("tiering/journal.Core.depose", "c.proveToken = 0"),
		swap("tiering/journal.Core.forgetReading", "c.phase, c.readToken = reading, 0", "c.phase = reading"),
	}},
	{name: "life: findings of the leadership before count", by: lives("TestAnEndThatWasFoundBeforeALeadershipIsForgotten"), plain: true, edits: []edit{
		drop("tiering/journal.Core.forgetReading", "c.pending, c.gap, c.verdict, c.atEnd = nil, false, nil, false"),
	}},
	{name: "skip: candidate below the floor stands on", by: lives("TestACandidateThatTheFloorHasPassedGivesUpFirst"), plain: true, edits: []edit{
		never("tiering/journal.Core.fallBehind", "c.stands"),
	}},
	{name: "skip: reads on below the floor without a checkpoint", by: lives("TestACandidateThatTheFloorHasPassedGivesUpFirst"), plain: true, edits: []edit{
		always("tiering/journal.Core.depose", "c.phase != behind"),
	}},
	{name: "skip: to a checkpoint that is not newer", by: lives("TestACheckpointThatIsNotNewerIsNoneToSkipTo"), plain: true, edits: []edit{
		never("tiering/journal.Core.skipped", "err == nil && ev.Chain.Next <= c.chain.Next"),
	}},
	{name: "skip: history of before kept", by: lives("TestACandidateThatTheFloorHasPassedGivesUpFirst"), plain: true, edits: []edit{
		swap("tiering/journal.Core.skipped", "c.chain, c.history = ev.Chain, ev.History.clone()", "c.chain = ev.Chain"),
	}},
	{name: "skip: proofs wait for a checkpoint that cannot be read", by: lives("TestAFollowerThatTheFloorHasPassedSkips"), plain: true, edits: []edit{
		never("tiering/journal.Core.skipped", "!c.stands"),
	}},
	{name: "skip: successor of before kept", by: lives("TestASkipForgetsTheSuccessor"), plain: true, edits: []edit{
		drop("tiering/journal.Life.Skipped", "l.ended = nil"),
	}},
	{name: "skip: state of journal 0 stays", by: metadata, edits: []edit{
		swap("metadata.life.skip", "l.opt.State.Restore(c.State)", "error(nil)"),
	}},
	{name: "life: reads of the floor share their place", by: lives("TestReadsOfTheFloorMayOverlap"), plain: true, edits: []edit{
		swap("tiering/journal.runner.readFloor", "f := r.floors", "f := &r.floors"),
		swap("tiering/journal.runner.readFloor", "r.floors = f", "r.floors = *f"),
	}},
	{name: "life: machine of a leadership not ended", by: lives("TestALifeGoesThroughItsStagesAgainAndAgain"), plain: true, edits: []edit{
		swap("tiering/journal.Life.Deposed", "m.Ended(err)", "_ = m"),
	}},
	{name: "life: goes on in spite of the policy", by: lives("TestALifeEndsWithTheErrorOfThePolicy"), plain: true, edits: []edit{
		drop("tiering/journal.Owner.wasDeposed", "o.End(err)"),
	}},
	{name: "checkpoint: of an earlier leadership counts", by: lives("TestACheckpointOfAnEarlierLeadershipSaysNothing"), plain: true, edits: []edit{
		never("tiering/journal.Owner.checkpointed", "tenure != o.tenures"),
	}},
	{name: "checkpoint: plan of an earlier leadership waited for", by: lives("TestAPlanIsGivenUpWithItsLeadership"), plain: true, edits: []edit{
		drop("tiering/journal.Checkpointer.Deposed", "c.plan = segment.ID{}"),
	}},
	{name: "leader: answers for a later leadership", by: leaderships("TestAJournalIsLedAgainAfterItWasDeposed"), plain: true, edits: []edit{
		never("ingest.Leader.question", "l.core.failed != nil"),
	}},
	{name: "own leaderships of the folder not known to replay", by: leaderships("TestALogIsReplayedAcrossLeadershipsThatTheFolderKnows"), plain: true, edits: []edit{
		drop("ingest.newLeader", "for _, id := range t.Own {_}"),
	}},
	{name: "requests to a controller that was deposed not answered", by: metadata, edits: []edit{
		drop("metadata.leading.Ended", "for _, cmd := range l.waiting {_}"),
	}},
	{name: "life: follower of a lost journal applies nothing", by: ingest, edits: []edit{
		drop("ingest.newLife", "if err := opt.State.Apply(obj.Footer, obj.Entries); err != nil {_}"),
	}},
	{name: "client waits at a node that leads no more", by: catcher{"./fetch", "TestAStandingLearnsThatAJournalIsOnlyFollowed"}, plain: true, edits: []edit{
		never("fetch.fetch.lookAt", "err == nil && j.Lost && len(p.extents) == 0 && p.page == nil"),
	}},
	{name: "client that waits not woken at the end of a leadership", by: catcher{"./fetch", "TestAStandingLearnsThatAJournalIsOnlyFollowed"}, plain: true, edits: []edit{
		swap("tiering/partlog.State.Disturb", "w.Moved()", "_ = w"),
	}},
	{name: "node does not follow a journal that it has lost", by: catcher{"./cmd/internal/node", "TestANodeFollowsTheJournalsThatItHasLost"}, plain: true, edits: []edit{
		swap("cmd/internal/node.dataLife.lost", "return end", "_ = end\nreturn reason"),
	}},
	{name: "node waits for the work of a lost leadership before it ends", by: catcher{"./cmd/internal/node", "TestANodeThatLosesAJournalEndsAtOnce"}, plain: true, edits: []edit{
		swap("cmd/internal/node.dataLife.lost", "l.fail(end)", "_ = end"),
	}},
	{name: "rule 32: proposes after the end entry", by: core, edits: []edit{
		swap("tiering/journal.Core.Room", "c.phase == leading && c.ending == nil", "c.phase == leading"),
	}},
	{name: "rule 32: end entry sent with objects under way", by: core, edits: []edit{
		swap("tiering/journal.Core.sendEnd", "c.ending == nil || c.endSent || len(c.slots) > 0", "c.ending == nil || c.endSent || !(uint64(len(c.slots)) < c.chain.Window)"),
	}},
	{name: "rule 32: end entry taken back after it was sent", by: core, edits: []edit{
		always("tiering/journal.Core.takeBack", "!c.endSent"),
	}},
	{name: "rule 32: leads on after its end entry", by: lives("TestALeaderHandsOverWhenAllIsConfirmed"), plain: true, edits: []edit{
		never("tiering/journal.Core.advance", "c.phase == leading && c.endSent"),
	}},
	{name: "rule 32: end entry that readers do not know", by: lives("TestNoEndEntryBeforeAllReadersKnowIt"), plain: true, edits: []edit{
		swap("tiering/journal.Core.MayEnd", "c.cfg.Ends != nil && c.cfg.Ends()", "true"),
	}},
	{name: "rule 32: end entry of a void counts", by: lives("TestAFollowerReportsTheSuccessor"), plain: true, edits: []edit{
		swap("tiering/journal.Core.accept", "if v == Valid {\n\tc.do(Apply{Object: o})\n}", "if v != 0 {\n\tc.do(Apply{Object: o})\n}"),
	}},
	{name: "rule 32: end entry counts after the next fence", by: lives("TestALifeHandsOverAndNamesItsSuccessor"), plain: true, edits: []edit{
		drop("tiering/journal.Life.Apply", "l.ended = nil"),
	}},
	{name: "patient node fences again after a fence", by: lives("TestPatientNodesDoNotFenceEachOther"), edits: []edit{
		never("tiering/journal.Core.accept", "v == Valid && h.Kind == segment.KindFence && c.stands && c.patient"),
	}},
	{name: "patient node gives up at data", by: lives("TestAPatientNodeTakesOverFromABusyLeader"), plain: true, edits: []edit{
		swap("tiering/journal.Core.accept", "v == Valid && h.Kind == segment.KindFence && c.stands && c.patient", "v == Valid && h.Kind != segment.KindFiller && c.stands && c.patient"),
	}},
	{name: "hands over with batches in the buffer", by: ingest, edits: []edit{
		swap("ingest.machine.endHandingOver", "m.next != nil && !m.ending && m.stopped && m.flusher.idle()", "m.next != nil && !m.ending && m.stopped"),
	}},
	{name: "upkeep ends in a hand-over that is taken back", by: leaderships("TestCarriedEntriesWaitWhileTheJournalIsHandedOver"), plain: true, edits: []edit{
		swap("ingest.core.carryWanted", "c.over()", "c.refuses(AcksLeader)"),
	}},
	{name: "records acknowledged by the disk while a journal is handed over", by: leaderships("TestAHandOverAcknowledgesByTheBucket"), plain: true, edits: []edit{
		swap("ingest.core.asked", "c.leaving || c.next != nil", "c.leaving"),
	}},
	{name: "records acknowledged by the disk of a node that leaves", by: leaderships("TestAHandOverAcknowledgesByTheBucket"), plain: true, edits: []edit{
		swap("ingest.core.asked", "c.leaving || c.next != nil", "c.next != nil"),
	}},
	{name: "requests wait before old records are committed", by: leaderships("TestAHandOverUnderSaturationEnds"), plain: true, edits: []edit{
		swap("ingest.machine.stopHandingOver", "m.takesUntil.IsZero() && m.answers.committed >= m.behind", "m.takesUntil.IsZero()"),
	}},
	{name: "controller hands over with changes that are planned", by: metadata, edits: []edit{
		swap("metadata.leading.endHandingOver", "l.next == nil || l.ending || len(l.entries) > 0 || len(l.proposed) > 0", "l.next == nil || l.ending"),
	}},
	{name: "controller plans on while it hands over", by: catcher{"./metadata", "TestAControllerHandsOver"}, plain: true, edits: []edit{
		never("metadata.leading.take", "l.next != nil"),
	}},
	{name: "committed change is an error at a hand-over", by: catcher{"./metadata", "TestCommittedChangesAreSuccessAtAHandOver"}, plain: true, edits: []edit{
		never("metadata.leading.Ended", "cmd.awaited.courtesy"),
	}},
	{name: "deletion is success at a hand-over before its topic is sealed", by: metadata, edits: []edit{
		always("metadata.leading.Ended", "cmd.awaited.courtesy"),
	}},
	{name: "hand-over of a later leadership taken back", by: catcher{"./metadata", "TestAHandOverBelongsToOneLeadership"}, plain: true, edits: []edit{
		swap("metadata.leading.goOnLeading", "l.ended || l.ending && !l.takeBack()", "l.ending && !l.takeBack()"),
	}},
	{name: "node claims the epoch by which it has lost a journal", by: catcher{"./cmd/internal/node", "TestASeatClaimsNoEpochOfAnotherNode"}, plain: true, edits: []edit{
		swap("cmd/internal/node.seat.begun", "leads := s.claim.own()", "leads := true"),
	}},
	{name: "wait for a journal begins with each try", by: catcher{"./cmd/internal/node", "TestAWaitLastsOverItsTries"}, plain: true, edits: []edit{
		swap("cmd/internal/node.seat.ended", "if led {\n\ts.since = time.Now()\n}", "s.since = time.Now()"),
	}},
	{name: "metrics of a lost leadership stay", by: catcher{"./cmd/internal/node", "TestANodeFollowsTheJournalsThatItHasLost"}, plain: true, edits: []edit{
		swap("cmd/internal/node.metrics.during", "m.register.Unregister(c)", "_ = c"),
	}},
}

// leaderships is a test of the leaderships of one data journal.
func leaderships(test string) catcher { return catcher{"./ingest", test} }

// lives is a test of one life.
func lives(test string) catcher { return catcher{"./tiering/journal", test} }
