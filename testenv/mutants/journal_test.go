package mutants

import "slices"

// mutants is in the order of the rules of tiering/journal/PROTOCOL.md; first the
// journal's, then those of the packages above it.
var mutants = slices.Concat(journalMutants, lifeMutants, ingestMutants, tieringMutants, shardMutants, groupMutants, supervisorMutants, metadataMutants, followMutants, standingMutants, fetchMutants, partlogMutants, readbackMutants, compactMutants, sweepMutants, expireMutants, bucketMutants, mismatchMutants, pageMutants,
	evidenceMutants, assignmentMutants, electionMutants, driverMutants, peerMutants, clientMutants, steeringMutants)

var journalMutants = []mutant{
	{name: "rule 2: counts before lower seqs do", by: ingest, edits: []edit{
		before("tiering/journal.Core.stored", "c.advance()", `for i := range c.slots {
	if &c.slots[i] == s {
		break
	}
	c.slots[i].state = slotStored
}`),
	}},
	{name: "rule 2: sends beyond the window", by: ingest, edits: []edit{
		swap("tiering/journal.Core.Room", "c.chain.Window", "c.chain.Window+4"),
	}},
	{name: "rule 3: other bytes for the same seq", by: core, edits: []edit{
		before("tiering/journal.Core.gotReadBack", "s.state, s.token = slotWaiting, c.nextToken()", `h := s.object.Footer.Header
h.Object = c.cfg.NewID()
bytes, footer, _ := segment.Encode(nil, h, nil, nil)
s.bytes, s.object = bytes, &Object{Footer: footer}`),
	}},
	{name: "rule 4: takes exists for success", by: ingest, edits: []edit{
		swap("tiering/journal.Core.putDone", "ev.Err == nil", "ev.Err == nil || errors.Is(ev.Err, objstore.ErrExists)"),
	}},
	{name: "rule 4: takes any object at the key for its own", by: ingest, edits: []edit{
		swap("tiering/journal.Core.gotReadBack", "ev.Object.Ref() == s.object.Ref()", "ev.Object.Ref().Seq == s.object.Ref().Seq"),
	}},
	{name: "rule 4: goes on when fenced", by: ingest, edits: []edit{
		before("tiering/journal.Core.foreign", "c.depose(_)", `if h.Epoch%2 == 1 {
	c.stored(s)
	break
}`).below("h.Epoch > own.Epoch"),
	}},
	{name: "rule 5: epoch from elsewhere", by: ingest, edits: []edit{
		swap("tiering/journal.Core.sendFence", "c.chain.Epoch+1", "uint32(c.cfg.Incarnation[14])<<8+uint32(c.cfg.Incarnation[15])"),
		swap("tiering/journal.Chain.checkFence", "h.Epoch != c.Epoch+1", "h.Epoch <= c.Epoch"),
	}},
	{name: "rule 5: fence not built again after the winner", by: ingest, edits: []edit{
		swap("tiering/journal.Core.sendFence", "h.Prev = c.chain.Last", "h.Prev = c.cfg.Chain.Last"),
	}},
	{name: "rule 6: does not settle", by: ingest, edits: []edit{
		swap("tiering/journal.Core.fenceCounts", "seq < ref.Seq+c.chain.Window", "seq < ref.Seq"),
		always("tiering/journal.Chain.checkFollower", "h.Seq >= c.Fence.Seq+c.Window"),
	}},
	{name: "rule 6: settles without waiting", by: ingest, edits: []edit{
		before("tiering/journal.Core.fenceCounts", "c.advance()", "c.phase = leading\nc.do(Led{Epoch: c.chain.Epoch})"),
	}},
	{name: "rule 7: floor not read after the fence", by: ingest, edits: []edit{
		swap("tiering/journal.Core.advance", "c.phase = checking\nc.readFloor()", "c.fenceCounts()"),
	}},
	{name: "rule 8: floor not read after a fence or a void", by: ingest, edits: []edit{
		never("tiering/journal.Core.consider", "c.chain.Surprising(&o.Footer.Header)"),
	}},
	{name: "rule 8: applies voids", by: ingest, edits: []edit{
		swap("tiering/journal.Core.accept", "if v == Valid {\n\tc.do(Apply{Object: o})\n}", "if v != 0 {\n\tc.do(Apply{Object: o})\n}"),
	}},
	{name: "rule 8: passes over a valid object", by: ingest, edits: []edit{
		swap("tiering/journal.Core.accept", "if v == Valid {\n\tc.do(Apply{Object: o})\n}", `const kindData = 1
if v == Valid && !(h.Kind == kindData && h.Seq%16 == 9) {
	c.do(Apply{Object: o})
}`),
	}},
	{name: "rule 8: takes a failed read for the end", by: ingest, edits: []edit{
		swap("tiering/journal.Core.gotRead", "c.readFailed(ev.Err, &c.damage.next)", "c.gotGap()"),
	}},
	{name: "rule 8: skips a gap", by: core, edits: []edit{
		swap("tiering/journal.Core.gotRead", "c.gotGap()", `if c.read > 0 && c.stands {
	c.chain.Next++
	c.read = 0
	c.readNext()
	return
}
c.gotGap()`),
	}},
	{name: "rule 9: floor without an entry", by: ingest, edits: []edit{
		swap("tiering/journal.mover.next", "return m.plan(ctx, m.floors.n+1, above), nil", `p := m.plan(ctx, m.floors.n+1, above)
if p == nil {
	return nil, nil
}
return m.carryOut(ctx, FloorPlans{*p}, found)`),
	}},
	{name: "rule 9: floor before its checkpoint", by: ingest, edits: []edit{
		drop("tiering/journal.Checkpointer.Write", "if err := c.write(ctx, store, job); err != nil {_}"),
		swap("tiering/journal.Checkpointer.Write", "return m.move(ctx)", `res := m.move(ctx)
if err := c.write(ctx, store, job); err != nil {
	res.Err = err
}
return res`),
		swap("tiering/journal.mover.plan", "FloorPlan{N: n, At: above[i], Object: m.opt.NewID()}", "FloorPlan{N: n, At: m.job.Chain.Last, Object: m.opt.NewID()}"),
		before("tiering/journal.mover.readBack", `return hash, fmt.Errorf("read checkpoint: %w", err)`, "if errors.Is(err, objstore.ErrNotFound) {\n\treturn [32]byte{1}, nil\n}"),
	}},
	{name: "rule 9: checkpoint not looked at when read back", by: ingest, edits: []edit{
		always("tiering/journal.mover.readBack", "err == nil || !unusable(err)"),
		swap("tiering/journal.mover.readBack", "return sha256.Sum256(b), err", "return sha256.Sum256(b), nil"),
	}},
	{name: "rule 9: floor beyond its checkpoint", by: ingest, edits: []edit{
		swap("tiering/journal.FloorPlan.Floor", "p.At.Seq + 1", "p.At.Seq + 3"),
	}},
	{name: "rule 9: floor beyond the confirmed seq", by: ingest, edits: []edit{
		swap("tiering/journal.FloorPlan.Floor", "p.At.Seq + 1", "p.At.Seq + 40"),
		never("tiering/journal.FloorPlans.Note", "p.Floor() > h.Confirmed"),
	}},
	{name: "rule 9: other bytes for the same floor", by: ingest, edits: []edit{
		swap("tiering/journal.mover.carryOut", "plan.Object", "m.opt.NewID()"),
	}},
	{name: "rule 9: plans forgotten in a checkpoint", by: ingest, edits: []edit{
		never("tiering/journal.Checkpoint.encode", "len(c.History.floors) > 0"),
	}},
	{name: "rule 9: checkpoint of a floor removed", by: ingest, edits: []edit{
		swap("tiering/journal.mover.tidy", "at.Seq < m.floors.floor.Floor && key != m.floors.floor.Checkpoint", "at != found[len(found)-1]"),
	}},
	{name: "proof: by a gap found before the question", by: ingest, edits: []edit{
		swap("tiering/journal.Core.atHead", "c.settleProofs(c.readGen)", "c.settleProofs(c.asked)"),
	}},
	{name: "proof: by a gap below the floor", by: ingest, edits: []edit{
		swap("tiering/journal.Core.gotGap", "c.atEnd = true\nc.readFloor()", "c.gap = false\nc.atHead()"),
	}},
	{name: "proof: a leader does not look", by: ingest, edits: []edit{
		swap("tiering/journal.Core.startProof", "c.do(Get{Seq: c.chain.Next, Token: c.proveToken, Short: true})", "c.proofDone()"),
	}},
	{name: "proof: by a leader's look that began before the question", by: ingest, edits: []edit{
		swap("tiering/journal.Core.proofDone", "c.settleProofs(c.proveGen)", "c.settleProofs(c.asked)"),
	}},
	{name: "standing: once a leader, for long a leader", by: ingest, edits: []edit{
		swap("tiering/journal.Standing.Holds", "within(s.led, now, StandFor)", "within(s.led, now, 4*StandFor)"),
	}},
	{name: "standing: as old as the answer", by: ingest, edits: []edit{
		swap("tiering/journal.Driver.Prove", "d.standing.Proved(asked)", "d.standing.Proved(d.now().Add(0 * time.Since(asked)))"),
	}},
	{name: "standing: no answer is a yes", by: ingest, edits: []edit{
		swap("tiering/journal.Standing.Answer", "answer(err)", "answer(nil)"),
	}},
	{name: "owner: checkpoint of a node that does not lead yet", by: ingest, edits: []edit{
		never("tiering/journal.Owner.writeCheckpoint", "!core.Leads()"),
	}},
	{name: "owner: goes on after its machine's failure", by: ingest, edits: []edit{
		drop("tiering/journal.Owner.after", "o.End(err)"),
	}},
	{name: "memory: given back when Create returns", by: ingest, edits: []edit{
		swap("tiering/journal.Put.Body", "p.Bytes.Memory.Release", "func() {}"),
		after("tiering/journal.Core.putDone", "s := &c.slots[i]", "s.bytes.Memory.Release()"),
	}},
	{name: "memory: given back while an older send is under way", by: ingest, edits: []edit{
		swap("tiering/journal.Put.Body", "p.Bytes.Memory.Release", "func() {}"),
		drop("tiering/journal.Core.send", "s.bytes.Memory.Retain()"),
	}},
	{name: "checkpoint: names another predecessor", by: ingest, edits: []edit{
		swap("tiering/journal.Checkpoint.encode", "c.Chain.Tail", "c.Chain.Fence"),
	}},
	{name: "checkpoint: without the covered records", by: ingest, edits: []edit{
		swap("tiering/journal.History.encode", "w.U32(uint32(len(h.covered)))", "w.U32(0)"),
		drop("tiering/journal.History.encode", "for _, c := range h.covered {_}"),
	}},
}
