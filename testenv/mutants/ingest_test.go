package mutants

var ingestMutants = []mutant{
	{name: "acks=1 before the sync", by: ingest, edits: []edit{
		swap("ingest.answers.await", "w.until > a.safeLocally()", "w.until > a.appended"),
	}},
	{name: "acks=all when synced", by: ingest, edits: []edit{
		swap("ingest.answers.await", "w.until > a.committed", "w.until > a.safeLocally()"),
	}},
	{name: "acks=all one record early", by: ingest, edits: []edit{
		swap("ingest.core.apply", "c.answers.wasCommitted(w.To - 1)", "c.answers.wasCommitted(w.To)"),
	}},
	{name: "end answered before acknowledged records are committed", by: ingest, edits: []edit{
		swap("ingest.answers.settled", "a.settlement.promised <= a.committed", "a.settlement.promised <= a.appended"),
	}},
	{name: "end answered when one acknowledged record is committed", by: ingest, edits: []edit{
		swap("ingest.settlement.release", "s.waiting[n].until <= committed", "committed > 0"),
	}},
	{name: "end answered without records that only a disk holds", by: ingest, edits: []edit{
		never("ingest.answers.await", "acks != AcksAll"),
	}},
	{name: "end answered while objects are applied", by: ingest, edits: []edit{
		after("ingest.core.apply", "c.flusher.waiting.answered(answered)", "c.answers.releaseSettled()"),
	}},
	{name: "retry answered before its original is committed", by: ingest, edits: []edit{
		swap("ingest.appendEnds.place", "return batchRetryPending", "return batchRetry"),
	}},
	{name: "retry appended again", by: ingest, edits: []edit{
		swap("ingest.appendEnds.place", "check == partlog.VerdictDuplicate", "check == partlog.VerdictDuplicate && original.LastOffset < view.End"),
	}},
	{name: "producer window of one batch", by: ingest, edits: []edit{
		swap("tiering/partlog.window.find", "w.batches", "w.batches[len(w.batches)-1:]"),
	}},
	{name: "producers forgotten by a new leader", by: ingest, edits: []edit{
		swap("ingest.appendEnds.open", "e.state", "partlog.New(0)"),
	}},
	{name: "producers forgotten before their batches are committed", by: ingest, edits: []edit{
		swap("tiering/partlog.Ahead.Committed", "w.last().LastOffset <= r.LastOffset", "true"),
	}},
	{name: "append side does not know what is committed", by: ingest, edits: []edit{
		swap("tiering/partlog.Ahead.Check", "a.state.Check(a.key, h)", "(*window)(nil).check(h)"),
	}},
	{name: "producers forgotten in a checkpoint", by: ingest, edits: []edit{
		swap("tiering/partlog.encoder.changed", "p.producers.changedIDs()", "[]int64(nil)"),
	}},
	{name: "producers in pages forgotten by a start", by: ingest, edits: []edit{
		drop("tiering/partlog.decoder.producerPage", "p.producers.restore(q, page)"),
	}},
	{name: "producers that change while a page is written", by: ingest, edits: []edit{
		swap("tiering/partlog.plannedProducers.each", "q.last().LastOffset == lasts[i]", "lasts[i] >= 0"),
	}},
	{name: "older page of a producer counts", by: ingest, edits: []edit{
		drop("tiering/partlog.decoder.producerPages", "slices.Reverse(pages)"),
	}},
	{name: "stall of a fence never over", by: ingest, edits: []edit{
		drop("ingest.core.lead", "c.stalled = false"),
	}},
	{name: "write-ahead records released when appended", by: ingest, edits: []edit{
		swap("ingest.core.apply", "c.wal.Release(w.To - 1)", "c.wal.Release(c.answers.appended)"),
	}},
	{name: "replay in spite of another leader", by: ingest, edits: []edit{
		never("ingest.replay.mayReplay", "foreign == nil && !p.local[incarnation]"),
		swap("ingest.replay.mayReplay", "return p.offsetsContinue(o)", "return nil"),
	}},
	{name: "replay of records that are in the bucket", by: ingest, edits: []edit{
		swap("ingest.replay.firstUncovered", "max(p.journal.History().Covered(o.log.ID), o.log.FirstLSN)", "o.log.FirstLSN"),
	}},
	{name: "replay leaves the append end", by: ingest, edits: []edit{
		swap("ingest.appendEnds.replay", "e.put(e.parts[k], data, h, base)",
			"p := e.parts[k]\nend := p.next.Load()\ne.put(p, data, h, base)\np.next.Store(end)"),
	}},
	{name: "requests taken while replay is under way", by: ingest, edits: []edit{
		swap("ingest.replay.run", "return false, err", "return err == nil && p.older[0].next > p.older[0].log.LastLSN, err"),
	}},
	{name: "older logs dropped without replay", by: ingest, edits: []edit{
		never("ingest.replay.one", "o.next <= o.log.LastLSN"),
		never("ingest.replay.one", "!p.replayed(o)"),
	}},
	{name: "alarm over a log that is all in the bucket", by: ingest, edits: []edit{
		swap("ingest.replay.mayReplay", "p.firstUncovered(o) > l.LastLSN", "len(l.Epochs) == 0"),
	}},
	{name: "set aside and counted wrongly", by: ingest, edits: []edit{
		swap("ingest.replay.setAside", "p.firstUncovered(o)", "o.log.FirstLSN"),
	}},
	{name: "spilled batches overtaken", by: ingest, edits: []edit{
		never("ingest.buffer.add", "b.spilled > 0"),
	}},
	{name: "spilled batches read back before they are synced", by: ingest, edits: []edit{
		never("ingest.flusher.spillDue", "!f.answers.isSynced(f.buffer.first)"),
		never("ingest.flusher.readBack", "!f.answers.isSynced(b.first)"),
	}},
	{name: "seal before the records that were taken", by: ingest, edits: []edit{
		always("ingest.buffer.takeEntries", "b.entries[0].after < b.first"),
	}},
	{name: "seal forgotten while the opening is under way", by: ingest, edits: []edit{
		drop("ingest.commands.proceed", "c.propose(add)"),
	}},
	{name: "command answered when it is proposed", by: ingest, edits: []edit{
		swap("ingest.commands.start", "q.waiting = append(q.waiting, c)", "c.answer(nil)"),
	}},
	{name: "seal reported, and the topic forgotten, before it is committed", by: ingest, edits: []edit{
		swap("ingest.step.reached", "ok && !v.Sealed", "ok && !v.Sealed && s.ends.isOpen(k)"),
	}},
	{name: "partition that was deleted unseen reported without an entry", by: ingest, edits: []edit{
		swap("ingest.step.propose", "open(k)\nif s.ends.close(k) {_}",
			"if s.ends.close(k) {\nadd(partlog.Seal{Key: k}.Encode())\n}"),
		swap("ingest.step.reached", "ok && !v.Sealed || !ok && !s.gone(k)", "ok && !v.Sealed"),
	}},
	{name: "partition opened again after it was dropped", by: leaderships("TestAPartitionThatIsDroppedDuringAStepIsNotOpenedAgain"), plain: true, edits: []edit{
		swap("ingest.step.propose", "!s.begun && s.ends.startOpening(k)", "s.ends.startOpening(k)"),
	}},
	{name: "opening reported before it is committed", by: ingest, edits: []edit{
		swap("ingest.step.reached", "if v, ok := s.ends.state.Lookup(k); !ok || v.Sealed {_}",
			"if v, ok := s.ends.state.Lookup(k); (!ok || v.Sealed) && !s.ends.isOpening(k) {\nreturn false\n}"),
	}},
	{name: "changes during a step reported with it", by: ingest, edits: []edit{
		swap("ingest.step.answer", "s.seq = s.placed.Seq", "s.seq = s.placements.Placed(s.journal, 0).Seq"),
	}},
	{name: "journal follows a view that is not proved", by: ingest, edits: []edit{
		never("ingest.reconciler.next", "!r.proved"),
	}},
	{name: "restored topic reported before its partitions are open", by: ingest, edits: []edit{
		swap("ingest.step.reached", "!ok || v.Sealed", "!ok || v.Sealed && false"),
	}},
	{name: "deletion answered before it is committed", by: ingest, edits: []edit{
		swap("ingest.deletion.reached", "r.LogStart = v.Start", "r.LogStart = want.Before"),
		always("ingest.deletion.reached", "v.Start >= want.Before"),
	}},
	{name: "records accepted after the seal", by: ingest, edits: []edit{
		drop("ingest.appendEnds.close", "delete(e.parts, k)"),
	}},
	{name: "leader epoch of an earlier leadership", by: ingest, edits: []edit{
		swap("ingest.appendEnds.replay", "e.put(e.parts[k], data, h, base)",
			"p := e.parts[k]\nepoch := p.epoch\np.epoch = h.LeaderEpoch\ne.put(p, data, h, base)\np.epoch = epoch"),
	}},
	{name: "flush for clients only when nothing is under way", by: flushes, edits: []edit{
		always("ingest.flusher.awaitedDue", "int64(f.buffer.bytes)*dueShare < f.underWay()"),
	}},
	{name: "flush of any size next to objects under way", by: flushes, edits: []edit{
		never("ingest.flusher.awaitedDue", "int64(f.buffer.bytes)*dueShare < f.underWay()"),
	}},
	{name: "client left behind by a full object forgotten", by: flushes, edits: []edit{
		always("ingest.waiting.flushed", "w.until < first"),
	}},
	{name: "clients that do not come back waited for", by: flushes, edits: []edit{
		swap("ingest.flusher.awaitedDue", "w.first.Add(f.linger)", "w.last.Add(f.linger)"),
	}},
	{name: "budget of PUTs not asked", by: flushes, edits: []edit{
		never("ingest.flusher.earlyDue", "f.buffer.bytes < cheapBytes"),
	}},
	{name: "PUTs not counted", by: flushes, edits: []edit{
		drop("ingest.flusher.flushOne", "f.puts.spend(f.lastFlush)"),
	}},
	{name: "not woken for a flush", by: ingest, edits: []edit{
		swap("ingest.machine.Progress", "earlier(roomAt, m.wakeAt())", "roomAt"),
	}},
	{name: "memory: of a buffered batch given back with its answer", by: ingest, edits: []edit{
		swap("ingest.flusher.add", "b.Memory.Retain()", "nil"),
	}},
	{name: "memory: of an object given back while it is under way", by: ingest, edits: []edit{
		before("ingest.flusher.propose", "f.journal.Propose(o, bytes)", "f.inFlight[h.Seq] = flight\nbytes.Memory.Release()"),
		drop("ingest.core.apply", "object.Release()"),
		never("ingest.core.apply", "object != nil"),
	}},
	{name: "failure of the disk not noticed", by: ingest, edits: []edit{
		drop("ingest.machine.Progress", "if err := m.disk.Err(); err != nil {_}"),
	}},
}
