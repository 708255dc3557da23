package ingest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/testenv/sim"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// proc is one leadership in a process, the way to it, and the time of following after it. The
// next one in the same process shares the first part of its fields.
type proc struct {
	f         *datadir
	p         *sim.Process
	owner     *sim.Owner
	life      *life
	opt       Options
	state     *partlog.State
	pool      *pooled.Pool // of frames and objects
	seen      segment.Ref
	snapshots *shard.Snapshots

	incarnation segment.ID
	core        *core
	machine     *machine
	log         *simLog
	over        bool            // it follows
	ctx         context.Context // ends with the leadership
	cancel      context.CancelFunc

	conns     []*call // requests that were not answered yet
	queue     []*call // of these, not handed to the core yet
	view      *view
	deletions []simDeletion
	acked     map[partlog.Key]int64 // the offset after the last that it acknowledged
	ready     bool
	shard     *simShard    // nil before the partition is open
	upkeep    *simUpkeep   // the part that merges
	keepers   []*simUpkeep // all parts
}

// live begins the life of a journal in a process, which stands at once.
func (n *proc) live(l loaded) {
	c := n.f.c
	n.opt = n.options(l)
	owned := n.opt.owner()
	if c.shape.Checkpoints.Every == 0 {
		owned.Checkpoints = nil
	}
	n.owner = sim.NewOwner(n.p, c.store, owned)
	n.life = newLife(n.opt, n.owner.Owner)
	n.lead()
	n.owner.Start(lived{n.life, n.f})
}

// lead begins to take the journal over.
func (n *proc) lead() {
	f, c := n.f, n.f.c
	n.incarnation, n.acked = c.newID(), map[partlog.Key]int64{}
	n.ctx, n.cancel = context.WithCancel(background)
	c.truth.starts[n.incarnation] = start{f, f.wiped}
	older := slices.Clone(f.logs)
	n.log = &simLog{f: f, proc: n, id: n.incarnation, first: 1, perFile: 1 + c.Rand.Intn(20)}
	f.logs = append(f.logs, n.log)
	n.view = newView(n)
	opt := n.opt
	opt.Journal.Incarnation, opt.Committed, opt.Recent = n.incarnation, n.committed, n
	opt.Placements, opt.ProvePlacements, opt.OnReconciled = n.view, n.view.prove, n.view.reconciled
	m := newMachine(opt, n.log, n.owner.Owner)
	m.onAccepting, m.resign, m.handOver, m.takeBack = n.accepts, n.life.Resign, n.life.HandOver, n.life.TakeBack
	n.core, n.machine = m.core, m
	n.core.producerPaging = partlog.ProducerPaging{Least: c.shape.Paged, Most: 8, OfObject: 1}
	if c.shape.upkeep() {
		n.core.minPaged = c.shape.Upkeep.Paged
	}
	n.core.replay.onAside = n.setAside
	for _, id := range f.own {
		n.core.replay.local[id] = true
	}
	for _, o := range older {
		n.core.replay.add(o.found(), simFiles{o, n})
	}
	f.own = append(f.own, n.incarnation)
	n.life.Stand(watched{m, n}, journal.Stand{Incarnation: n.incarnation})
	n.p.After(c.Between(0, 5*time.Second), "placements", n.view.poll)
	n.p.After(c.Between(time.Second, 10*time.Second), "prove", n.prove)
	n.p.After(c.Between(time.Second, 10*time.Second), "confirm", n.confirm)
	n.p.After(c.Between(100*time.Millisecond, 5*time.Second), "settle", n.settle)
}

// present reports whether the process has begun no other leadership since.
func (n *proc) present() bool { return n.f.proc == n }

// options are those of a journal, from a checkpoint.
func (n *proc) options(l loaded) Options {
	c := n.f.c
	return Options{
		Journal: journal.Config{
			Chain: l.Chain, History: l.History, Witness: n.f.witness, Node: n.f.id,
			NewID: c.newID, NowMs: func() int64 { return c.Now().UnixMilli() },
			Ends: func() bool { return true },
		},
		State: n.state, Pool: n.pool, Followed: func(o *journal.Object) { n.f.proc.committed(o) }, Attached: n.snapshots.Encode, CheckAttached: checkSnapshots,
		Checkpoints: c.shape.Checkpoints, FlushInterval: c.shape.FlushInterval, FlushBytes: c.shape.FlushBytes,
		PUTsPerSecond: c.shape.PUTsPerSecond, MaxUnflushed: c.shape.MaxMemory, Now: c.Now, CarryAfter: c.shape.Upkeep.Carry,
		Pace: journal.NewPace(func() time.Duration { return c.Between(50*time.Millisecond, 2*time.Second) }), OnLost: n.lost,
	}.withDefaults()
}

// errProcessEnds is the end of a process that was asked for.
var errProcessEnds = errors.New("the process ends")

// lost: a leadership is over. The process ends with it, or follows on and leads again later.
func (n *proc) lost(err error) error {
	f, c := n.f, n.f.c
	if err != nil && !errors.Is(err, journal.ErrFenced) {
		c.Fail("%s is deposed by %w", n.p.Name, err)
	}
	if _, named := n.life.Successor(); err == nil && named {
		f.proc.handedOver()
	}
	if !c.Chance(c.shape.Stays) {
		return cmp.Or(err, errProcessEnds)
	}
	c.Count("followed on after a leadership")
	n.p.After(c.Between(0, 20*time.Second), "stand again", func() {
		f.proc.owner.Do(f.standAgain)
	})
	return nil
}

// handOver has a leader hand the journal over, and take that back some time later.
func (f *datadir) handOver() {
	n, c := f.proc, f.c
	if n == nil || !n.ready {
		return
	}
	m := n.machine
	takeBack := func() {
		switch {
		case m.failed != nil:
		case m.goOnLeading():
			c.Count("hand-over taken back")
		default:
			c.Count("hand-over not taken back")
		}
	}
	n.p.Do(func() {
		n.owner.Do(func() {
			if m.beginHandOver(journal.End{To: segment.ID{3, 1}, Assignment: 1}) == nil {
				n.p.After(c.Between(0, 5*time.Second), "take back", func() { n.owner.Do(takeBack) })
			}
		})
	})
}

// handedOver: nothing that was acknowledged is left to the write-ahead log.
func (n *proc) handedOver() {
	n.f.c.Count("handed over")
	if left := n.core.flusher.pending.Load(); left > 0 {
		n.f.c.Fail("%s has handed over with %d bytes of batches that are not in the bucket", n.p.Name, left)
	}
}

// standAgain begins another leadership in the process that runs.
func (f *datadir) standAgain() {
	before := f.proc
	if !before.over {
		return
	}
	n := *before
	n.over, n.ready, n.queue, n.deletions, n.shard, n.upkeep, n.keepers = false, false, nil, nil, nil, nil, nil
	f.proc = &n
	f.c.Count("stood again")
	f.proc.lead()
}

// lived is the life of a process, with an eye on its end.
type lived struct {
	*life
	f *datadir
}

// Ended ends the process.
func (l lived) Ended(err error) {
	n, c := l.f.proc, l.f.c
	l.life.Ended(err)
	c.truth.MayEnd(n.p.Name, err)
	c.Logf("%s ends: %v", n.p.Name, err)
	if errors.Is(err, journal.ErrBelowFloor) {
		c.Count("ended: below the floor")
	}
	n.gone()
}
