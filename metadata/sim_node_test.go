package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// node is a data folder, and its process while one runs.
type node struct {
	c       *cluster
	name    string
	id      segment.ID
	starts  int
	p       *sim.Process // nil while none runs
	owner   *sim.Owner
	state   *State
	life    *life
	lead    *leading // the last one
	reports *Reports
	ready   bool
	skipped bool
	lostBy  error // the end of the last leadership, or of the way to it
	asks    []asked
}

func (n *node) start() {
	c := n.c
	if n.p != nil || c.only != nil && c.only != n {
		return
	}
	chain, history, state, err := c.load()
	if err != nil {
		c.seen.MayEnd(n.name, err)
		c.After(c.Between(100*time.Millisecond, 5*time.Second), "start again", n.start)
		return
	}
	n.starts++
	n.p, n.state = c.NewProcess(fmt.Sprintf("%s.%d", n.name, n.starts)), state
	n.ready, n.skipped, n.lostBy = false, false, nil
	p := n.p
	opt := LeaderOptions{
		Journal: journal.Config{
			Chain: chain, History: history, Node: n.id,
			NewID: c.newID, NowMs: func() int64 { return c.Now().UnixMilli() },
			Ends: func() bool { return true },
		},
		State: state, Defaults: Defaults{Partitions: 1, ReplicationFactor: 1}, DeleteGrace: c.shape.Grace, PurgeMs: func() int64 { return c.Now().UnixMilli() }, Checkpoints: c.shape.Checkpoints,
		Committed:  func(o *journal.Object) { c.applied(p.Name, o, state) },
		Followed:   func(o *journal.Object) { c.applied(p.Name, o, state) },
		Pace:       journal.NewPace(func() time.Duration { return c.Between(100*time.Millisecond, 3*time.Second) }),
		Reconciled: NewReports(), OnUndone: n.onUndone, OnLost: n.lost, OnEnd: func(uint32, journal.End) { c.Count("successor named") },
		OnSkipped: func(journal.Chain) { c.Count("skipped to a newer checkpoint") },
	}
	n.reports = opt.Reconciled.(*Reports)
	for id := range uint32(simJournals) {
		n.reports.Leads(id+1, true)
	}
	owned := opt.owner()
	if c.shape.Checkpoints.Every == 0 {
		owned.Checkpoints = nil
	}
	owned.Skip = n.skip
	n.owner = sim.NewOwner(n.p, c.store, owned)
	n.life = newLife(opt.withDefaults(), n.owner.Owner)
	if !c.quiet && c.Chance(c.shape.Follows) {
		p.After(c.Between(0, 20*time.Second), "stand after following", func() { n.owner.Do(n.stand) })
	} else {
		n.stand()
	}
	n.owner.Start(lived{n.life, n})
}

// skip: the floor has passed the process.
func (n *node) skip(cp *journal.Checkpoint) error {
	c, before := n.c, n.state.Head()
	if err := n.life.skip(cp); err != nil {
		c.Fail("%s skips to the checkpoint of seq %d: %w", n.p.Name, cp.Chain.Last.Seq, err)
		return err
	}
	n.skipped = true
	if n.state.Head() <= before {
		c.Fail("%s skips from seq %d to seq %d", n.p.Name, before, n.state.Head())
	}
	c.seen.SameState(n.p.Name, n.state.Head(), n.state.hash)
	return nil
}

// stand begins to take the journal over.
func (n *node) stand() {
	n.life.leading = newLeading(n.life.opt, n.life.owner)
	n.lead = n.life.leading
	n.lead.handOver, n.lead.takeBack = n.life.HandOver, n.life.TakeBack
	how := journal.Stand{Incarnation: n.c.newID(), Patient: n.owner.Ready() && n.c.Chance(n.c.shape.Patient)}
	if how.Patient {
		n.c.Count("stood patiently")
	}
	n.life.Stand(watched{n.lead, n}, how)
}

// lost: a leadership is over. The process ends with it, or follows on and leads again later.
func (n *node) lost(err error) error {
	c, p := n.c, n.p
	n.ready, n.lostBy = false, err
	switch by := new(journal.FencedError); {
	case err == nil:
		n.handedOver()
	case errors.Is(err, journal.ErrBelowFloor):
		c.Count("leadership ends below the floor")
	case !errors.Is(err, journal.ErrFenced):
		c.Fail("%s is deposed by %w", p.Name, err)
	case errors.As(err, &by) && by.Own == 0:
		c.Count("gave up at a fence")
	}
	if !c.Chance(c.shape.Stays) {
		return cmp.Or(err, errProcessEnds)
	}
	c.Count("followed on after a leadership")
	p.After(c.Between(0, 20*time.Second), "stand again", func() {
		n.owner.Do(func() {
			c.Count("stood again")
			n.stand()
		})
	})
	return nil
}

// errProcessEnds is the end of a process that was asked for.
var errProcessEnds = errors.New("the process ends")

// handOver has a controller hand over, and take that back some time later.
func (n *node) handOver() {
	c, p, owner, l := n.c, n.p, n.owner, n.lead
	if p == nil || !n.ready {
		return
	}
	over := false
	takeBack := func() {
		switch {
		case over:
		case l.goOnLeading():
			c.Count("hand-over taken back")
		default:
			c.Count("hand-over not taken back")
		}
	}
	p.Do(func() {
		owner.Do(func() {
			if l.beginHandOver(journal.End{To: segment.ID{3, 1}}, func(error) { over = true }) == nil {
				p.After(c.Between(0, 3*time.Second), "take back", func() { owner.Do(takeBack) })
			}
		})
	})
}

// handedOver: all changes that were planned are committed.
func (n *node) handedOver() {
	n.c.Count("handed over")
	if _, named := n.life.Successor(); !named || !n.lead.ending || len(n.lead.entries)+len(n.lead.proposed) > 0 {
		n.c.Fail("%s has given the journal up: end entry %v, %d changes to propose and %d under way", n.p.Name, named, len(n.lead.entries), len(n.lead.proposed))
	}
}

// lived is the life of a process, with an eye on each of its events.
type lived struct {
	*life
	n *node
}

func (l lived) Progress() (time.Time, error) {
	next, err := l.life.Progress()
	l.n.answers()
	return next, err
}

func (l lived) Ended(err error) {
	l.life.Ended(err)
	l.n.c.seen.MayEnd(l.n.p.Name, err)
	if errors.Is(err, journal.ErrBelowFloor) && !errors.Is(l.n.lostBy, journal.ErrBelowFloor) {
		l.n.c.Fail("%s ends: %w", l.n.p.Name, err)
	}
	l.n.gone()
}

// watched is one leading of a process, with an eye on each of its events.
type watched struct {
	*leading
	n *node
}

func (w watched) Progress() (time.Time, error) {
	next, err := w.leading.Progress()
	if err != nil {
		w.n.c.Fail("%s ends: %w", w.n.name, err)
	}
	if w.Ready() && !w.n.ready {
		w.n.isReady()
	}
	return next, err
}

// isReady: the node has a broker id, which is its own and stays so.
func (n *node) isReady() {
	c := n.c
	n.ready = true
	c.Count("controller")
	if n.skipped {
		c.Count("stood after a skip")
	}
	id := n.lead.nodeID
	if committed, ok := c.truth.node(n.id); !ok || committed != id {
		c.Fail("%s takes broker id %d, committed is %d, %v", n.name, id, committed, ok)
	}
	if before, ok := c.brokers[n.id]; ok && before != id {
		c.Fail("%s has broker id %d and had %d", n.name, id, before)
	}
	if of, ok := c.folders[id]; ok && of != n.id {
		c.Fail("%s has broker id %d of another", n.name, id)
	}
	c.brokers[n.id], c.folders[id] = id, n.id
}

func (n *node) gone() {
	n.c.Count("process ended")
	n.p.Kill()
	n.p = nil
	n.c.asked -= len(n.asks)
	n.asks = nil
	n.c.After(n.c.Between(100*time.Millisecond, 20*time.Second), "start again", n.start)
}

func (n *node) stop() {
	if n.p != nil {
		n.gone()
	}
}

func (n *node) freeze() {
	if n.p != nil {
		n.p.Freeze(n.c.Between(100*time.Millisecond, 40*time.Second))
	}
}

// sleep freezes a process that follows, for so long that the floor may pass it.
func (n *node) sleep() {
	if n.p != nil && n.life.leading == nil {
		n.p.Freeze(n.c.Between(5*time.Second, time.Minute))
	}
}

func (n *node) drained() bool {
	return n.p != nil && !n.p.Frozen() && n.ready && len(n.lead.entries) == 0 && len(n.lead.proposed) == 0 && len(n.lead.waiting)+len(n.lead.following) == 0 &&
		len(n.state.going()) == 0 && n.lead.undone.since.IsZero()
}
