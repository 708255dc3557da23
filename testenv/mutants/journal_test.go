package mutants

import "slices"

// mutants is in the order of the rules of tiering/journal/PROTOCOL.md; first the
// journal's, then those of the packages above it.
var mutants = slices.Concat(journalMutants, ingestMutants, shardMutants, groupMutants, metadataMutants)

const (
	leading    = "tiering/journal/leading.go"
	reading    = "tiering/journal/reading.go"
	coreFile   = "tiering/journal/core.go"
	chain      = "tiering/journal/chain.go"
	checkpoint = "tiering/journal/checkpoint.go"
	writer     = "tiering/journal/checkpointer.go"
	mover      = "tiering/journal/mover.go"
	floor      = "tiering/journal/floor.go"
	standing   = "tiering/journal/standing.go"
	driver     = "tiering/journal/driver.go"
)

var journalMutants = []mutant{
	{name: "rule 2: counts before lower seqs do", by: ingest, edits: []edit{{leading,
		"	s.state, s.token = slotStored, 0\n	c.advance()",
		"	s.state, s.token = slotStored, 0\n	for i := range c.slots {\n		if &c.slots[i] == s {\n			break\n		}\n		c.slots[i].state = slotStored\n	}\n	c.advance()"}}},
	{name: "rule 2: sends beyond the window", by: ingest, edits: []edit{{coreFile,
		"return c.phase == leading && uint64(len(c.slots)) < c.chain.Window",
		"return c.phase == leading && uint64(len(c.slots)) < c.chain.Window+4"}}},
	{name: "rule 3: other bytes for the same seq", by: core, edits: []edit{{leading,
		"		s.state, s.token = slotWaiting, c.nextToken()",
		"		h := s.object.Footer.Header\n		h.Object = c.cfg.NewID()\n		data, footer, _ := segment.Build(h, nil, nil)\n		s.data, s.object = data, &Object{Footer: footer}\n		s.state, s.token = slotWaiting, c.nextToken()"}}},
	{name: "rule 4: takes exists for success", by: ingest, edits: []edit{{leading,
		"	if ev.Err == nil {\n		c.stored(s)",
		"	if ev.Err == nil || errors.Is(ev.Err, objstore.ErrExists) {\n		c.stored(s)"}}},
	{name: "rule 4: takes any object at the key for its own", by: ingest, edits: []edit{{leading,
		"	case ev.Object.Ref() == s.object.Ref():",
		"	case ev.Object.Ref().Seq == s.object.Ref().Seq:"}}},
	{name: "rule 4: goes on when fenced", by: ingest, edits: []edit{{leading,
		"	case h.Epoch > own.Epoch:\n		c.end(",
		"	case h.Epoch > own.Epoch && h.Epoch%2 == 1:\n		c.stored(s)\n	case h.Epoch > own.Epoch:\n		c.end("}}},
	{name: "rule 5: epoch from elsewhere", by: ingest, edits: []edit{{leading,
		"segment.KindFence, c.chain.Next, c.chain.Epoch+1)",
		"segment.KindFence, c.chain.Next, uint32(c.cfg.Incarnation[14])<<8+uint32(c.cfg.Incarnation[15]))"}, {chain,
		"	case h.Epoch != c.Epoch+1:", "	case h.Epoch <= c.Epoch:"}}},
	{name: "rule 5: fence not built anew after the winner", by: ingest, edits: []edit{{leading,
		"	h.Prev = c.chain.Last\n	h.Confirmed = c.chain.Next - 1\n	c.sendEmpty(h)",
		"	h.Prev = c.cfg.Chain.Last\n	h.Confirmed = c.chain.Next - 1\n	c.sendEmpty(h)"}}},
	{name: "rule 6: does not settle", by: ingest, edits: []edit{{leading,
		"seq < ref.Seq+c.chain.Window; seq++", "seq < ref.Seq; seq++"}, {chain,
		"	settled := h.Seq >= c.Fence.Seq+c.Window", "	settled := true"}}},
	{name: "rule 6: settles without waiting", by: ingest, edits: []edit{{leading,
		"		c.sendEmpty(h)\n	}\n	c.advance()",
		"		c.sendEmpty(h)\n	}\n	c.phase = leading\n	c.do(Led{Epoch: c.chain.Epoch})\n	c.advance()"}}},
	{name: "rule 7: floor not read after the fence", by: ingest, edits: []edit{{leading,
		"			c.phase = checking\n			c.readFloor()", "			c.fenceCounts()"}}},
	{name: "rule 8: floor not read after a fence or a void", by: ingest, edits: []edit{{reading,
		"	if c.chain.Surprising(&o.Footer.Header) {", "	if false {"}}},
	{name: "rule 8: applies voids", by: ingest, edits: []edit{{reading,
		"	if v == Valid {\n		c.do(Apply{", "	if v != 0 {\n		c.do(Apply{"}}},
	{name: "rule 8: passes over a valid object", by: ingest, edits: []edit{{reading,
		"	if v == Valid {\n		c.do(Apply{", "	if v == Valid && !(h.Kind == segment.KindData && h.Seq%16 == 9) {\n		c.do(Apply{"}, {reading,
		"	\"time\"\n)", "	\"time\"\n\n	\"github.com/varvelog/varve/tiering/segment\"\n)"}}},
	{name: "rule 8: takes a failed read for the end", by: ingest, edits: []edit{{reading,
		"		c.readFailed(ev.Err, &c.damage.next)\n	case ev.Absent:", "		c.gotGap()\n	case ev.Absent:"}}},
	{name: "rule 8: skips a gap", by: core, edits: []edit{{reading,
		"		c.readErrors, c.damage.next = 0, 0\n		c.gotGap()", "		c.readErrors, c.damage.next = 0, 0\n		if c.read > 0 && c.cfg.Lead {\n			c.chain.Next++\n			c.read = 0\n			c.readNext()\n			return\n		}\n		c.gotGap()"}}},
	{name: "rule 9: floor without an entry", by: ingest, edits: []edit{{mover,
		"	return m.plan(m.floors.n+1, above), nil\n",
		"	p := m.plan(m.floors.n+1, above)\n	if p == nil {\n		return nil, nil\n	}\n	return m.carryOut(ctx, FloorPlans{*p}, found)\n"}}},
	{name: "rule 9: floor before its checkpoint", by: ingest, edits: []edit{{writer,
		"	if err := c.write(ctx, store, job); err != nil {\n		return CheckpointResult{Err: err}\n	}\n	c.floors.store", "	c.floors.store"}, {writer,
		"	return m.move(ctx)\n", "	res := m.move(ctx)\n	if err := c.write(ctx, store, job); err != nil {\n		res.Err = err\n	}\n	return res\n"}, {mover,
		"At: above[i], Object", "At: m.job.Chain.Last, Object"}, {mover,
		"		if b, err = m.store.Get(ctx, key); err != nil {", "		if b, err = m.store.Get(ctx, key); errors.Is(err, objstore.ErrNotFound) {\n			return [32]byte{1}, nil\n		} else if err != nil {"}}},
	{name: "rule 9: checkpoint not looked at when read back", by: ingest, edits: []edit{{mover,
		"		if err = m.check(ctx, plan, key, b); err == nil || !unusable(err) {\n			return sha256.Sum256(b), err", "		if true {\n			return sha256.Sum256(b), nil"}}},
	{name: "rule 9: floor beyond its checkpoint", by: ingest, edits: []edit{{floor,
		"{ return p.At.Seq + 1 }", "{ return p.At.Seq + 3 }"}}},
	{name: "rule 9: floor beyond what is confirmed", by: ingest, edits: []edit{{floor,
		"{ return p.At.Seq + 1 }", "{ return p.At.Seq + 40 }"}, {floor,
		"	case p.Floor() > h.Confirmed:", "	case false:"}}},
	{name: "rule 9: other bytes for the same floor", by: ingest, edits: []edit{{mover,
		"Hash: hash, Object: plan.Object,", "Hash: hash, Object: m.opt.NewID(),"}}},
	{name: "rule 9: plans forgotten in a checkpoint", by: ingest, edits: []edit{{checkpoint,
		"	case len(c.History.floors) > 0:", "	case false:"}}},
	{name: "rule 9: checkpoint of a floor removed", by: ingest, edits: []edit{{mover,
		"at.Seq < m.floors.floor.Floor && key != m.floors.floor.Checkpoint {", "at != found[len(found)-1] {"}}},
	{name: "proof: by a gap found before the question", by: ingest, edits: []edit{{reading,
		"	c.settleProofs(c.readGen)", "	c.settleProofs(c.asked)"}}},
	{name: "proof: by a gap below the floor", by: ingest, edits: []edit{{reading,
		"	c.atEnd = true // unless the floor has passed it\n	c.readFloor()", "	c.gap = false\n	c.atHead()"}}},
	{name: "proof: a leader does not look", by: ingest, edits: []edit{{leading,
		"		c.do(Get{Seq: c.chain.Next, Token: c.proveToken, Short: true})\n	}\n}\n\nfunc (c *Core) gotProof(", "		c.proofDone()\n	}\n}\n\nfunc (c *Core) gotProof("}}},
	{name: "standing: once a leader, for long a leader", by: ingest, edits: []edit{{standing,
		"within(s.led, now, StandFor)", "within(s.led, now, 4*StandFor)"}}},
	{name: "standing: as old as the answer", by: ingest, edits: []edit{{driver,
		"			d.standing.Proved(asked)\n", "			d.standing.Proved(d.now().Add(0 * time.Since(asked)))\n"}}},
	{name: "standing: no answer is a yes", by: ingest, edits: []edit{{standing,
		"	for _, answer := range waiting {\n		answer(err)", "	for _, answer := range waiting {\n		answer(nil)"}}},
	{name: "checkpoint: names another predecessor", by: ingest, edits: []edit{{checkpoint,
		"[]segment.Ref{c.Chain.Fence, c.Chain.Tail, c.Chain.Last} {", "[]segment.Ref{c.Chain.Fence, c.Chain.Fence, c.Chain.Last} {"}}},
	{name: "checkpoint: without what is covered", by: ingest, edits: []edit{{"tiering/journal/history.go",
		"	w.U32(uint32(len(h.covered)))\n	for _, c := range h.covered {", "	w.U32(0)\n	for _, c := range h.covered[:0] {"}}},
}
