package journal

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// This file is the part of Core that reads: by seq, one after the other, up to
// the first gap (PROTOCOL.md, rule 8).

func (c *Core) readNext() {
	c.readToken = c.nextToken()
	c.readGen = c.asked
	c.do(Get{Seq: c.chain.Next, Token: c.readToken, Ahead: min(c.read, maxAhead)})
}

// poke looks for more objects, unless a read is under way or this Core leads.
// As the leader it is the only one to write, and learns of another leader by
// its own writes.
func (c *Core) poke() {
	if c.phase == reading && c.readToken == 0 {
		c.readNext()
	}
}

func (c *Core) gotRead(ev GotObject) {
	switch {
	case ev.Err != nil:
		c.readFailed(ev.Err, &c.damage.next)
	case ev.Absent:
		c.readErrors, c.damage.next = 0, 0
		c.gotGap()
	default:
		c.readErrors, c.damage.next = 0, 0
		c.consider(ev.Object)
	}
}

// readFailed pauses and reads again, unless the read is hopeless. Proofs are not
// kept waiting for it.
func (c *Core) readFailed(err error, damaged *int) {
	if c.endIfHopeless(err, damaged) {
		return
	}
	c.do(Trouble{Err: err})
	if !c.stands {
		c.failProofs(err)
	}
	c.pause(pauseRead, pauseAfter(err, c.readErrors))
	c.readErrors++
}

// pause does nothing for d, and then reads again.
func (c *Core) pause(then pauseKind, d time.Duration) {
	c.paused = then
	c.readToken = c.nextToken()
	c.do(Wait{Token: c.readToken, For: d})
}

func (c *Core) resume() {
	c.readToken = 0
	switch c.paused {
	case pauseFloor:
		c.readFloor()
	case pauseSkip:
		c.skip()
	default:
		c.readNext()
	}
}

// gotGap: there is no object at Next. That is the end of the log, unless an
// object is known to exist there. Then the floor is read, which may have moved
// past Next, and the key once more. If it is still absent, the journal is
// broken.
func (c *Core) gotGap() {
	c.read = 0
	if err := c.chain.CheckGap(c.cfg.Witness); err != nil {
		c.contradicted(err)
		return
	}
	if c.stands {
		c.lookBeyond()
		return
	}
	c.atEnd = true // unless the floor has passed it
	c.readFloor()
}

func (c *Core) lookBeyond() {
	c.readToken = c.nextToken()
	c.do(LookBeyond{Seq: c.chain.Next, Token: c.readToken, Max: int(c.chain.Window)})
}

// contradicted: something must be at Next. It may have come since Next was read, so
// that is done again. It may have been deleted before, so the decision rests on a read
// of the floor that begins after that.
func (c *Core) contradicted(err error) {
	if !c.gap {
		c.gap = true
		c.readNext()
		return
	}
	c.verdict = err
	c.readFloor()
}

// gotBeyond judges the objects beyond the gap, before a fence fills it: a segment
// that was removed from the middle of the log leaves others that know of it.
func (c *Core) gotBeyond(ev Beyond) {
	if ev.Token != c.readToken {
		return
	}
	c.readToken = 0
	if ev.Err != nil {
		c.readFailed(ev.Err, &c.damage.beyond)
		return
	}
	c.damage.beyond = 0
	for _, o := range ev.Objects {
		if err := c.chain.CheckBeyond(&o.Footer.Header); err != nil {
			c.contradicted(err)
			return
		}
	}
	c.gap = false
	c.atHead()
}

func (c *Core) atHead() {
	if c.stands {
		c.sendFence()
		return
	}
	c.settleProofs(c.readGen)
	if c.asked > c.proved {
		c.readNext()
		return
	}
	c.do(AtHead{})
}

// consider looks at the object at Next. One that is not plainly the next of its
// epoch counts only once the floor has been read after it.
func (c *Core) consider(o *Object) {
	c.pending = o
	if c.chain.Surprising(&o.Footer.Header) {
		c.readFloor()
		return
	}
	c.accept()
}

func (c *Core) readFloor() {
	c.readToken = c.nextToken()
	c.do(GetFloor{Token: c.readToken})
}

func (c *Core) gotFloor(ev GotFloor) {
	if ev.Token == c.proveToken {
		c.gotProofFloor(ev)
		return
	}
	if ev.Token != c.readToken {
		return
	}
	c.readToken = 0
	if ev.Err != nil {
		if c.endIfHopeless(ev.Err, &c.damage.floor) {
			return
		}
		c.do(Trouble{Err: ev.Err})
		if c.phase == reading && !c.stands {
			c.failProofs(ev.Err)
		}
		c.pause(pauseFloor, pauseAfter(ev.Err, c.readErrors))
		c.readErrors++
		return
	}
	c.readErrors, c.damage.floor = 0, 0
	if c.belowFloor(ev.Floor) {
		return
	}
	switch {
	case c.verdict != nil:
		c.end(c.verdict)
	case c.phase == checking:
		c.fenceCounts()
	case c.atEnd:
		c.atEnd = false
		if c.stands { // since the gap was found
			c.lookBeyond()
			return
		}
		c.gap = false
		c.atHead()
	case c.pending != nil:
		c.accept()
	default:
		c.readNext()
	}
}

// belowFloor stops a Core that deletion has overtaken. A start from the floor before the one
// in force reads objects below the latter, which are all there.
func (c *Core) belowFloor(floor uint64) bool {
	switch {
	case floor <= c.chain.Next:
		return false
	case floor > c.chain.Spared:
	case c.atEnd || c.verdict != nil || c.phase != reading:
		c.end(fmt.Errorf("%w: journal %d has no object at seq %d; it is below floor %d, and was not to be deleted", ErrBroken, c.chain.Journal, c.chain.Next, floor))
		return true
	default:
		return false
	}
	c.fallBehind(fmt.Errorf("%w: journal %d at seq %d, floor %d", ErrBelowFloor, c.chain.Journal, c.chain.Next, floor))
	return true
}

// accept applies the pending object and goes on.
func (c *Core) accept() {
	o := c.pending
	c.pending, c.gap = nil, false
	h := &o.Footer.Header
	v, err := c.chain.Check(h)
	if err == nil && v == Valid {
		err = c.chain.CheckWitness(h, c.cfg.Witness)
	}
	if err == nil && v == Valid {
		err = c.history.note(o)
	}
	if err != nil {
		c.end(err)
		return
	}
	c.chain.Advance(h, v)
	c.read++
	if v == Valid {
		c.do(Apply{Object: o})
	}
	if v == Valid && h.Kind == segment.KindFence && c.stands && c.patient {
		c.depose(fencedBy(h, 0))
		return
	}
	switch {
	case c.losses == 0:
		c.readNext()
	case c.losses < maxLosses:
		c.sendFence()
	default:
		c.losses = 0
		c.do(Trouble{Err: fmt.Errorf("%d fences lost in a row: journal %d has a busy leader", maxLosses, c.chain.Journal)})
		c.pause(pauseRead, losePause)
	}
}

// lostFence: another object took the place of our fence. Usually it is that of
// a live leader, so reading on to the end first would lose every race: the next
// place is tried at once, a few times.
func (c *Core) lostFence(o *Object) {
	c.dropSlots(len(c.slots))
	c.phase = reading
	c.losses++
	c.consider(o)
}
