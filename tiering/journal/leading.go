package journal

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// This file is the part of Core that writes: fence, settle, lead. All three
// send objects of their own and resolve their outcomes (PROTOCOL.md, rules
// 1 to 7).

// addSlot sends a new object of ours for the seq after the last slot's. The reference to
// its bytes is the slot's from now on.
func (c *Core) addSlot(o *Object, bytes segment.Encoded) {
	c.slots = append(c.slots, slot{object: o, bytes: bytes})
	s := &c.slots[len(c.slots)-1]
	c.send(s)
	if c.stall == 0 {
		c.waitStall()
	}
}

func (c *Core) waitStall() {
	c.stall = c.nextToken()
	c.do(Wait{Token: c.stall, For: stallTick})
}

// stallTicked reports the seqs that have been unresolved for long. One timer
// serves all, and none runs while nothing is under way.
func (c *Core) stallTicked() {
	c.stall = 0
	for i := range c.slots {
		s := &c.slots[i]
		if s.ticks++; s.ticks == stallTicks && s.state != slotStored {
			c.do(Stalled{Seq: s.object.Footer.Header.Seq})
		}
	}
	if len(c.slots) > 0 {
		c.waitStall()
	}
}

// send sends the slot's bytes, the same every time. Each Put has a reference of its own:
// it may be under way when the seq has been resolved by a later one.
func (c *Core) send(s *slot) {
	s.state, s.token = slotSending, c.nextToken()
	if s.first == 0 {
		s.first = s.token
	}
	s.bytes.Memory.Retain()
	c.do(Put{Seq: s.object.Footer.Header.Seq, Token: s.token, Bytes: s.bytes})
}

// dropSlots removes the first n slots, whose bytes will not be sent any more.
func (c *Core) dropSlots(n int) {
	for i := range c.slots[:n] {
		c.slots[i].bytes.Memory.Release()
		c.slots[i] = slot{}
	}
	c.slots = c.slots[n:]
}

func (c *Core) slotByToken(token uint64) *slot {
	for i := range c.slots {
		if c.slots[i].token == token {
			return &c.slots[i]
		}
	}
	return nil
}

// putDone: a success of any attempt counts, late ones too, as all attempts
// carried the same bytes; a failure of the latest is looked into. An attempt of an earlier
// leadership for the same seq had other bytes.
func (c *Core) putDone(ev PutDone) {
	i := ev.Seq - c.chain.Next
	if ev.Seq < c.chain.Next || i >= uint64(len(c.slots)) {
		return
	}
	s := &c.slots[i]
	if ev.Token < s.first {
		return
	}
	if ev.Err == nil {
		c.stored(s)
		return
	}
	if s.state != slotSending || s.token != ev.Token {
		return
	}
	if !errors.Is(ev.Err, objstore.ErrExists) {
		c.do(Trouble{Err: ev.Err})
	}
	s.state, s.token = slotChecking, c.nextToken()
	c.do(Get{Seq: ev.Seq, Token: s.token})
}

func (c *Core) stored(s *slot) {
	if s.state == slotStored {
		return
	}
	s.state, s.token = slotStored, 0
	c.advance()
}

// gotReadBack resolves a slot by the object at its key.
func (c *Core) gotReadBack(s *slot, ev GotObject) {
	switch {
	case ev.Err != nil, ev.Absent:
		if ev.Err != nil {
			if c.endIfHopeless(ev.Err, &s.damaged) {
				return
			}
			c.do(Trouble{Err: ev.Err})
		} else {
			s.damaged = 0
		}
		// Absent is not lost: the PUT may still land. Only the same bytes may follow.
		s.state, s.token = slotWaiting, c.nextToken()
		c.do(Wait{Token: s.token, For: pauseAfter(ev.Err, s.tries)})
		s.tries++
	case ev.Object.Ref() == s.object.Ref():
		c.stored(s)
	default:
		c.foreign(s, ev.Object)
	}
}

// foreign: another leader's object is where ours should be.
func (c *Core) foreign(s *slot, o *Object) {
	h, own := &o.Footer.Header, &s.object.Footer.Header
	switch {
	case c.phase == fencing:
		c.lostFence(o)
	case h.Cluster != own.Cluster || h.Journal != own.Journal || h.Seq != own.Seq:
		c.end(fmt.Errorf("%w: seq %d of journal %d is taken by an object that says it is seq %d of journal %d of cluster %s",
			ErrBroken, own.Seq, own.Journal, h.Seq, h.Journal, h.Cluster.Base64()))
	case h.Epoch > own.Epoch:
		c.depose(fencedBy(h, own.Epoch))
	case h.Epoch == own.Epoch:
		c.end(fmt.Errorf("%w: journal %d, epoch %d, seq %d: incarnation %s wrote there, this is %s",
			ErrTwin, h.Journal, h.Epoch, h.Seq, h.Incarnation, own.Incarnation))
	case c.phase == settling:
		s.state, s.token, s.foreign = slotTaken, 0, o
		c.advance()
	default:
		c.end(fmt.Errorf("%w: journal %d, seq %d has epoch %d, ours is %d", ErrUnsettled, h.Journal, h.Seq, h.Epoch, own.Epoch))
	}
}

// advance takes the resolved slots off the front, in order: only then do they
// count (PROTOCOL.md, rule 2).
func (c *Core) advance() {
	if c.phase == fencing {
		if c.slots[0].state == slotStored {
			c.phase = checking
			c.readFloor()
		}
		return
	}
	for len(c.slots) > 0 && c.phase != ended {
		switch s := &c.slots[0]; s.state {
		case slotStored:
			c.pass(s.object, Valid)
		case slotTaken:
			c.pass(s.foreign, Void)
		default:
			return
		}
	}
	switch {
	case c.phase == settling:
		c.phase = leading
		c.do(Led{Epoch: c.chain.Epoch})
		c.startProof()
	case c.phase == leading && c.endSent: // it was the last one, and is confirmed
		c.depose(nil)
	case c.phase == leading:
		c.sendEnd()
	}
}

// pass moves beyond the first slot, whose place o holds. Another's object there may
// contradict the log, which is an end; that ours does would be a fault of this program.
func (c *Core) pass(o *Object, want Verdict) {
	h := &o.Footer.Header
	v, err := c.chain.Check(h)
	if err == nil && v == Valid {
		err = c.history.note(o)
	}
	if err != nil && want == Void {
		c.end(err)
		return
	}
	if err != nil || v != want {
		panic(fmt.Sprintf("journal: own seq %d judged %d, %v", h.Seq, v, err))
	}
	c.chain.Advance(h, v)
	c.dropSlots(1)
	if v == Valid {
		c.do(Apply{Object: o, Own: true})
	}
	if c.proveToken != 0 && c.chain.Next > c.proveSeq {
		c.proveToken = 0
		c.proofDone()
	}
}

// sendFence tries to open an epoch at Next. The fence is an object of its own,
// with an epoch above all that was read below it.
func (c *Core) sendFence() {
	if c.chain.CheckGap(c.cfg.Witness) != nil {
		c.readNext()
		return
	}
	c.phase = fencing
	h := c.ownHeader(segment.KindFence, c.chain.Next, c.chain.Epoch+1)
	h.Prev = c.chain.Last
	h.Confirmed = c.chain.Next - 1
	c.sendOwn(h)
}

// fenceCounts: the fence is stored and the floor read since is not above it.
// Objects that the old leader may still have under way are fenced off by filling its
// window before anything else is written.
func (c *Core) fenceCounts() {
	fence := c.slots[0].object
	c.pass(fence, Valid)
	c.losses = 0
	c.phase = settling
	ref := fence.Ref()
	for seq := ref.Seq + 1; seq < ref.Seq+c.chain.Window; seq++ {
		h := c.ownHeader(segment.KindFiller, seq, c.chain.Epoch)
		h.Prev = ref
		h.Confirmed = ref.Seq
		c.sendOwn(h)
	}
	c.advance()
}

// sendOwn sends an object that the Core itself makes. It has no records.
func (c *Core) sendOwn(h segment.Header, entries ...segment.Entry) {
	h.Object = c.cfg.NewID()
	h.BuiltMs = c.cfg.NowMs()
	bytes, footer, err := segment.Encode(nil, h, entries, nil)
	if err != nil {
		panic(fmt.Sprintf("journal: build %+v: %v", h, err))
	}
	o, err := NewObject(footer, entries)
	if err != nil {
		panic(fmt.Sprintf("journal: build %+v: %v", h, err))
	}
	c.addSlot(o, bytes)
}

// startProof answers proofs asked for. A follower reads on to the next gap. A
// leader looks whether the lowest seq it has not confirmed is absent or its own.
func (c *Core) startProof() {
	switch {
	case c.asked == c.proved:
	case c.phase == reading:
		c.poke()
	case c.phase == leading && c.proveToken == 0:
		c.proveToken = c.nextToken()
		c.proveGen = c.asked
		c.proveSeq = c.chain.Next + uint64(len(c.slots))
		c.do(Get{Seq: c.chain.Next, Token: c.proveToken, Short: true})
	}
}

func (c *Core) gotProof(ev GotObject) {
	next := c.chain.Next
	if ev.Err != nil {
		c.proofFailed(ev.Err, &c.damage.proof)
		return
	}
	c.damage.proof = 0
	switch {
	case ev.Absent && len(c.slots) == 0:
		c.proofDone()
	case ev.Absent:
		// Ours may have been stored there, confirmed by a successor, passed by the
		// floor and deleted. With nothing of ours under way only a fence could have
		// been there, and fences stay.
		c.proveToken = c.nextToken()
		c.do(GetFloor{Token: c.proveToken})
	case ev.Object.Footer.Header.Seq < next:
		c.lookFurther() // confirmed while the Get was under way
	case len(c.slots) > 0 && c.slots[0].object.Ref() == ev.Object.Ref():
		c.stored(&c.slots[0])
		c.lookFurther()
	case len(c.slots) > 0:
		c.foreign(&c.slots[0], ev.Object)
	default:
		c.foreign(&slot{object: &Object{Footer: &segment.Footer{Header: c.Header()}}}, ev.Object)
	}
}

func (c *Core) gotProofFloor(ev GotFloor) {
	c.proveToken = 0
	switch {
	case ev.Err != nil:
		c.proofFailed(ev.Err, &c.damage.floor)
	case !c.belowFloor(ev.Floor):
		c.damage.floor = 0
		c.proofDone()
	}
}

// proofFailed answers the proof under way. One that meets damage again and again
// ends the leadership: nothing can be committed over it. Callers ask as often as they
// like, so damage counts once a pause.
func (c *Core) proofFailed(err error, damaged *int) {
	if !isDamaged(err) || c.damage.pause == 0 {
		if c.endIfHopeless(err, damaged) {
			return
		}
		if isDamaged(err) {
			c.damage.pause = c.nextToken()
			c.do(Wait{Token: c.damage.pause, For: pauseAfter(err, 0)})
		}
	}
	c.do(ProofFailed{Through: c.proveGen, Err: err})
	c.proved = c.proveGen
	c.startProof()
}

// lookFurther goes on with the proof under way from the new lowest seq.
func (c *Core) lookFurther() {
	if c.phase != leading || c.proved >= c.proveGen {
		return
	}
	c.proveToken = c.nextToken()
	c.do(Get{Seq: c.chain.Next, Token: c.proveToken, Short: true})
}

func (c *Core) proofDone() {
	c.settleProofs(c.proveGen)
	c.startProof()
}

// settleProofs answers the proofs asked for up to gen.
func (c *Core) settleProofs(gen uint64) {
	if gen > c.proved {
		c.proved = gen
		c.do(Proved{Through: gen})
	}
}

func (c *Core) failProofs(err error) {
	if c.asked > c.proved {
		c.proved = c.asked
		c.do(ProofFailed{Through: c.asked, Err: err})
	}
}
