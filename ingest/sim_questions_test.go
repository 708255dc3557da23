package ingest

import (
	"errors"
	"maps"
	"time"

	"github.com/varvelog/varve/tiering/journal"
)

// Questions that clients put to a leader in the simulation, and that only a node which
// leads may answer.

// prove compares a proved head with the records committed before the question.
func (n *proc) prove() {
	c := n.f.c
	if !n.present() {
		return
	}
	head := c.truth.Last
	n.owner.Do(func() {
		n.owner.Prove(func(err error) {
			if err == nil && n.state.Head() < head {
				c.Fail("%s proved its head at seq %d, seq %d was committed before", n.p.Name, n.state.Head(), head)
			}
		})
	})
	n.p.After(c.Between(time.Second, 10*time.Second), "prove", n.prove)
	n.standStill()
}

// standStill lets the process freeze with a question under way, whose answer it reads
// long after. Chance alone would hardly ever do that.
func (n *proc) standStill() {
	c := n.f.c
	if c.shape.Freeze > 0 && !c.quiet && c.Chance(0.05) {
		n.p.Freeze(c.Between(time.Second, 40*time.Second))
	}
}

// confirm asks as clients do that wait for records or belong to a group: a leader
// that was deposed while it stood still must not go on for long.
func (n *proc) confirm() {
	c, epoch, asked := n.f.c, n.core.epoch, n.f.c.Elapsed()
	if !n.present() {
		return
	}
	n.p.After(c.Between(100*time.Millisecond, 10*time.Second), "confirm", n.confirm)
	if epoch == 0 {
		return
	}
	n.owner.Do(func() {
		n.owner.Confirm(func(err error) {
			switch {
			case err == nil:
				c.truth.confirmed(n, epoch, asked)
			case errors.Is(err, journal.ErrEnded):
				c.Count("asked and deposed")
			default:
				c.Count("asked and not known")
			}
		})
	})
}

// settle asks as a client does that wants to read to the end: records
// acknowledged before the question must be there at the answer.
func (n *proc) settle() {
	c := n.f.c
	if !n.present() {
		return
	}
	n.p.After(c.Between(10*time.Millisecond, 2*time.Second), "settle", n.settle)
	acked, waited := maps.Clone(n.acked), n.core.answers.unsettled()
	n.owner.Do(func() {
		n.core.settle(func(err error) {
			if err != nil {
				c.Count("asked for the end and not known")
				return
			}
			if waited {
				c.Count("asked for the end and waited")
			}
			for k, end := range acked {
				if v, ok := n.state.Lookup(k); ok && !v.Sealed && v.End < end {
					c.Fail("%s says that %v ends at %d, it had acknowledged the records before %d", n.p.Name, k, v.End, end)
				}
			}
		})
	})
}

// ask has the leader prove its head, a moment later.
func (s *simShard) ask(onProved func(error)) {
	s.n.p.After(s.n.f.c.Between(0, time.Millisecond), "coordinator asks", func() {
		s.n.owner.Do(func() { s.n.owner.Prove(onProved) })
	})
}
