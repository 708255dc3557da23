package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/testenv/sim"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var background = context.Background()

// datadir is a node's data folder, which survives its processes.
type datadir struct {
	c       *cluster
	name    string
	id      segment.ID
	logs    []*simLog // on its disk, oldest first
	witness segment.Ref
	proc    *proc // nil while none runs
	wiped   int   // how often the disk was lost
	starts  int
}

// proc is one start of a node.
type proc struct {
	f           *datadir
	p           *sim.Process
	incarnation segment.ID
	owner       *sim.Owner
	core        *core
	state       *partlog.State
	log         *simLog
	pool        *pooled.Pool // of frames and objects

	conns     []*call // requests that were not answered yet
	queue     []*call // of these, not handed to the core yet
	view      *view
	deletions []simDeletion
	acked     map[partlog.Key]int64 // the offset after the last that it acknowledged
	ready     bool
	seen      segment.Ref
	snapshots *shard.Snapshots
	shard     *simShard    // nil before the partition is open
	upkeep    *simUpkeep   // the part that merges
	keepers   []*simUpkeep // all parts
}

func (f *datadir) start() {
	c := f.c
	if f.proc != nil || c.only != nil && c.only != f || c.Err() != nil {
		return
	}
	l, err := load(c)
	if err != nil {
		c.truth.MayEnd(f.name, err)
		c.After(c.Between(100*time.Millisecond, 5*time.Second), "start again", f.start)
		return
	}
	f.starts++
	n := &proc{
		f: f, p: c.NewProcess(fmt.Sprintf("%s.%d", f.name, f.starts)), incarnation: c.newID(), state: l.state,
		acked: map[partlog.Key]int64{}, pool: pooled.NewPool(1 << 20),
	}
	f.proc = n
	if c.shape.Upkeep.Skew > 0 {
		n.p.Skew = c.Between(0, 2*c.shape.Upkeep.Skew) - c.shape.Upkeep.Skew
	}
	c.truth.starts[n.incarnation] = start{f, f.wiped}
	older := slices.Clone(f.logs)
	n.log = &simLog{f: f, proc: n, id: n.incarnation, first: 1, perFile: 1 + c.Rand.Intn(20)}
	f.logs = append(f.logs, n.log)
	if n.snapshots, err = shard.DecodeSnapshots(l.attached); err != nil {
		c.Fail("%s: %w", n.p.Name, err)
		return
	}
	n.view = newView(n)
	opt := n.options(l)
	owned := opt.owner()
	if c.shape.Checkpoints.Every == 0 {
		owned.Checkpoints = nil
	}
	n.owner = sim.NewOwner(n.p, c.store, owned)
	m := newMachine(opt, n.log, n.owner.Owner)
	m.onAccepting = n.accepts
	n.core = m.core
	n.core.producerPaging = partlog.ProducerPaging{Least: c.shape.Paged, Most: 8, OfObject: 1}
	if c.shape.upkeep() {
		n.core.minPaged = c.shape.Upkeep.Paged
	}
	n.core.replay.onAside = n.setAside
	for _, o := range older {
		n.core.replay.add(o.found(), simFiles{o, n})
	}
	n.owner.Start(watched{m, n})
	n.p.After(c.Between(0, 5*time.Second), "placements", n.view.poll)
	n.p.After(c.Between(time.Second, 10*time.Second), "prove", n.prove)
	n.p.After(c.Between(time.Second, 10*time.Second), "confirm", n.confirm)
	n.p.After(c.Between(100*time.Millisecond, 5*time.Second), "settle", n.settle)
}

// options are those of a leader, from a checkpoint.
func (n *proc) options(l loaded) Options {
	c := n.f.c
	return Options{
		Journal: journal.Config{
			Chain: l.Chain, History: l.History, Witness: n.f.witness, Node: n.f.id, Incarnation: n.incarnation,
			NewID: c.newID, NowMs: func() int64 { return c.Now().UnixMilli() },
		},
		Placements: n.view, ProvePlacements: n.view.prove, OnReconciled: n.view.reconciled,
		State: n.state, Recent: n, Pool: n.pool, Committed: n.committed, Attached: n.snapshots.Encode, CheckAttached: checkSnapshots,
		Checkpoints: c.shape.Checkpoints, FlushInterval: c.shape.FlushInterval, FlushBytes: c.shape.FlushBytes,
		PUTsPerSecond: c.shape.PUTsPerSecond, MaxUnflushed: c.shape.MaxMemory, Now: c.Now, CarryAfter: c.shape.Upkeep.Carry,
	}.withDefaults()
}

// committed sees every object that the core applied.
func (n *proc) committed(o *journal.Object) {
	n.f.c.truth.applied(n.p.Name, o, n.state)
	n.seen = o.Ref()
}

// Add gets the bytes that readers would get from memory.
func (n *proc) Add(seq uint64, object *pooled.Buffer) {
	if seq < n.f.c.truth.Floor {
		return // deleted since, or replaced by a late write
	}
	if stored := n.f.c.store.Object(segment.JournalKey(simJournal, seq)); string(stored) != string(object.Bytes()) {
		n.f.c.Fail("%s keeps other bytes for seq %d than the bucket has", n.p.Name, seq)
	}
}

// setAside counts as an operator would.
func (n *proc) setAside(records int, _ string, reason error) {
	n.f.c.truth.wasSetAside(n, records, reason)
}

func checkSnapshots(b []byte) error {
	_, err := shard.DecodeSnapshots(b)
	return err
}

// gone: the process is no more; a new one starts later.
func (n *proc) gone() {
	f, c := n.f, n.f.c
	n.p.Kill()
	f.proc = nil
	if n.seen.Seq > 0 && c.Chance(0.7) {
		f.witness = n.seen
	}
	for _, r := range n.conns {
		r.broken()
	}
	c.After(c.Between(100*time.Millisecond, 20*time.Second), "start again", f.start)
}

func (f *datadir) crash() {
	n, c := f.proc, f.c
	if n == nil {
		return
	}
	if c.Chance(c.shape.Graceful) {
		c.Count("gentle end")
		n.p.Do(func() { n.owner.Do(n.core.close) })
		return
	}
	c.Count("crash")
	wipe := c.Chance(c.shape.Wipe)
	n.log.crash()
	n.gone()
	if wipe {
		c.Count("disk lost")
		f.logs, f.witness = nil, segment.Ref{}
		f.wiped++
		f.id[15] = byte(f.wiped)
	}
}

// stop ends a process as kill does, and nothing is lost.
func (f *datadir) stop() {
	if f.proc != nil {
		f.proc.log.crash()
		f.proc.gone()
	}
}

func (f *datadir) freeze(d time.Duration) {
	if f.proc != nil {
		f.proc.p.Freeze(d)
	}
}

func (f *datadir) remove(l *simLog) {
	f.logs = slices.DeleteFunc(f.logs, func(x *simLog) bool { return x == l })
}

// calm: the disk is well again.
func (f *datadir) calm() {
	if f.proc != nil {
		f.proc.log.full = false
		f.proc.p.Do(f.proc.owner.Wake)
	}
}

// drained: the node leads, and nothing is left to do.
func (f *datadir) drained() bool {
	n := f.proc
	return n != nil && n.ready && !n.p.Frozen() && n.core.idle() && n.view.followed == uint64(len(f.c.metadata)) && n.shard.drained() && n.upkept()
}

func (f *datadir) explain() string {
	n := f.proc
	if n == nil {
		return f.name + " does not run"
	}
	s := fmt.Sprintf("%s: %s, next %d, last %d", n.p.Name, n.core.explain(), n.owner.Core().Chain().Next, f.c.truth.Last)
	if n.shard != nil {
		s += fmt.Sprintf("; coordinator in phase %d has applied %d", n.shard.core.Phase(), n.shard.core.Applied())
	}
	s += n.upkeep.explain()
	for _, p := range f.c.producers {
		s += "; " + p.explain()
	}
	return s
}

// checkDrained: with nothing under way the append side is the state, and no older
// log is left.
func (f *datadir) checkDrained() {
	c := f.c
	if c.Err() != nil {
		return
	}
	n := f.proc
	if len(f.logs) != 1 || f.logs[0] != n.log {
		c.Fail("%s still has %d logs", f.name, len(f.logs))
	}
	open := map[partlog.Key]bool{}
	for _, k := range c.want.Open {
		open[k] = true
	}
	n.state.Partitions(func(k partlog.Key, v partlog.View) {
		end, ok := n.core.ends.next(k)
		deposed := n.state.Head() < c.truth.Last // and has nothing to write, by which it would notice
		if ok == v.Sealed || ok && end != v.End || open[k] == v.Sealed || v.Start != c.truth.begins[k] && !deposed && !v.Dropped {
			c.Fail("%s: partition %v is open %v at %d, in the state %+v", n.p.Name, k, ok, end, v)
		}
	})
	for _, k := range c.want.Open {
		if _, ok := n.state.Lookup(k); !ok {
			c.Fail("%s: partition %v was never opened", n.p.Name, k)
		}
	}
}

// errGone is a client's error of a connection that breaks.
var errGone = errors.New("connection reset")
