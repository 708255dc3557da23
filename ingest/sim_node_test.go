package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var background = context.Background()

// datadir is a node's data folder: what survives its processes.
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
	j           *sim.Journal
	core        *core
	state       *partlog.State
	log         *simLog

	conns      []*call // requests that were not answered yet
	queue      []*call // of these, not handed to the core yet
	reconciled []reconciled
	deletions  []simDeletion
	acked      map[partlog.Key]int64 // the offset after the last that it acknowledged
	ready      bool
	timer      time.Time // when the pending timer fires; zero if there is none
	checkpoint *journal.Checkpointer
	seen       segment.Ref
	snapshots  *shard.Snapshots
	shard      *simShard // nil before the partition is open
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
		acked: map[partlog.Key]int64{},
	}
	f.proc = n
	c.truth.starts[n.incarnation] = start{f, f.wiped}
	older := slices.Clone(f.logs)
	n.log = &simLog{f: f, proc: n, id: n.incarnation, first: 1, perFile: 1 + c.Rand.Intn(20)}
	f.logs = append(f.logs, n.log)
	cfg := journal.Config{
		Lead: true, Chain: l.Chain, History: l.History, Witness: f.witness, Node: f.id, Incarnation: n.incarnation,
		NewID: c.newID, NowMs: func() int64 { return c.Now().UnixMilli() },
	}
	n.j = sim.StartJournal(n.p, c.store, cfg, journal.Hooks{
		Apply: n.apply, Led: n.led, AtHead: func() {}, Stalled: n.stalled, Ended: n.end,
	}, n.after)
	if n.snapshots, err = shard.DecodeSnapshots(l.attached); err != nil {
		c.Fail("%s: %w", n.p.Name, err)
		return
	}
	n.core = newCore(Options{
		Attached: n.snapshots.Encode,
		State:    n.state, Recent: n, Committed: n.committed, FlushInterval: c.shape.FlushInterval,
		FlushBytes: c.shape.FlushBytes, EarlyBytes: c.shape.EarlyBytes, MaxUnflushed: c.shape.MaxMemory, ProducerExpiry: 24 * time.Hour, Now: c.Now, Journal: cfg,
	}, n.log, n.j)
	n.core.replay.warn = n.setAside
	n.checkpoint = journal.NewCheckpointer(journal.CheckpointerOptions{
		NewID: c.newID, Last: l.Chain.Last.Seq, Check: (&Options{CheckAttached: checkSnapshots}).checkCheckpoint, Policy: c.shape.Checkpoints,
	})
	for _, o := range older {
		n.core.addOlder(o.found(), simFiles{o, n})
	}
	n.p.After(c.Between(time.Second, 10*time.Second), "prove", n.prove)
	n.p.After(c.Between(time.Second, 10*time.Second), "confirm", n.confirm)
	n.p.After(c.Between(100*time.Millisecond, 5*time.Second), "settle", n.settle)
}

func (n *proc) apply(o *journal.Object, own bool) error { return n.core.apply(o, own) }

func (n *proc) led(epoch uint32) {
	n.f.c.truth.leads(epoch, n)
	n.core.lead(epoch)
}

func (n *proc) stalled(uint64) {
	n.f.c.Count("stalled")
	n.core.stall()
}

// committed sees every object that the core applied.
func (n *proc) committed(o *journal.Object) {
	n.f.c.truth.applied(n.p.Name, o, n.state)
	n.seen = o.Ref()
}

// Add gets the bytes that readers would get from memory.
func (n *proc) Add(seq uint64, data []byte) {
	if seq < n.f.c.truth.Floor {
		return // deleted meanwhile, or replaced by what was written late
	}
	if stored := n.f.c.store.Object(segment.JournalKey(simJournal, seq)); string(stored) != string(data) {
		n.f.c.Fail("%s keeps other bytes for seq %d than the bucket has", n.p.Name, seq)
	}
}

// setAside counts as an operator would.
func (n *proc) setAside(records int, _ string, reason error) {
	n.f.c.truth.wasSetAside(n, records, reason)
}

// after does what Leader does after every event.
func (n *proc) after() {
	if n.p.Dead() {
		return
	}
	c := n.f.c
	if n.j.Ended { // told by end
		return
	}
	n.pump()
	n.startShard()
	if err := n.core.progress(); err != nil {
		c.Fail("%s ends: %w", n.p.Name, err)
		return
	}
	if n.core.accepting && !n.ready {
		n.ready = true
		n.reconcile()
		if err := n.core.progress(); err != nil {
			c.Fail("%s ends: %w", n.p.Name, err)
			return
		}
	}
	n.checkReconciled()
	n.checkDeletions()
	n.setTimer()
	n.writeCheckpoint()
	if n.core.finished() {
		n.finished()
	}
}

// pump hands requests to the core while the disk takes more.
func (n *proc) pump() {
	for len(n.queue) > 0 && !n.log.full && !n.p.Dead() {
		r := n.queue[0]
		n.queue = n.queue[1:]
		n.append(r)
	}
}

func (n *proc) setTimer() {
	at := n.core.wakeAt()
	if at.IsZero() {
		return
	}
	now := n.f.c.Now()
	if n.timer.After(now) && !n.timer.After(at) {
		return
	}
	n.timer = at
	n.p.After(at.Sub(now), "flush timer", func() {
		if n.timer.Equal(at) {
			n.timer = time.Time{}
		}
		n.after()
	})
}

// reconciled is an answer to reconcile that is waited for.
type reconciled struct {
	want Want
	done chan error
}

func (n *proc) reconcile() {
	r := reconciled{n.f.c.want, make(chan error, 1)}
	n.reconciled = append(n.reconciled, r)
	n.core.reconcile(r.want, r.done)
}

// checkReconciled looks at the answers to reconcile: what was sealed may be
// forgotten from then on.
func (n *proc) checkReconciled() {
	left := n.reconciled[:0]
	for _, r := range n.reconciled {
		select {
		case err := <-r.done:
			if err == nil {
				n.checkWant(r.want)
			}
		default:
			left = append(left, r)
		}
	}
	n.reconciled = left
}

func (n *proc) checkWant(want Want) {
	for _, k := range want.Open {
		if _, ok := n.state.Lookup(k); !ok {
			n.f.c.Fail("%s says that %v is open, it is not", n.p.Name, k)
		}
	}
	for _, k := range want.Sealed {
		if v, ok := n.state.Lookup(k); ok && !v.Sealed {
			n.f.c.Fail("%s says that %v is sealed, it is not", n.p.Name, k)
		}
	}
}

func checkSnapshots(b []byte) error {
	_, err := shard.DecodeSnapshots(b)
	return err
}

// writeCheckpoint does what Leader does, with time passing and things going wrong
// between any two requests to the store.
func (n *proc) writeCheckpoint() {
	c := n.f.c
	if c.shape.Checkpoints.Every == 0 || !n.core.leading() || !n.checkpoint.Due(n.j.Core().Chain()) {
		return
	}
	job := n.core.planCheckpoint(n.j.Core().Checkpoint())
	n.checkpoint.Begin(&job)
	var res journal.CheckpointResult
	n.p.Go(c.store, func(s objstore.Store) { res = n.checkpoint.Write(background, s, job) }, func() { n.checkpointed(res) })
}

func (n *proc) checkpointed(res journal.CheckpointResult) {
	c := n.f.c
	switch {
	case res.Err != nil:
		c.Count("checkpoint failed")
	case res.FloorErr != nil, res.RemoveErr != nil:
		c.Count("floor not moved")
		fallthrough
	default:
		c.Count("checkpoint written")
	}
	if err := n.checkpoint.Finished(res, slog.New(slog.DiscardHandler)); err != nil {
		n.end(err)
		return
	}
	if n.core.checkpointed(res) {
		n.checkpoint.Hurry()
	}
	n.after()
}

// end is the end of a leadership by an error.
func (n *proc) end(err error) {
	n.f.c.truth.MayEnd(n.p.Name, err)
	n.f.c.Logf("%s ends: %v", n.p.Name, err)
	switch {
	case errors.Is(err, journal.ErrFenced):
		n.f.c.Count("ended: fenced")
	case errors.Is(err, journal.ErrBelowFloor):
		n.f.c.Count("ended: below the floor")
	}
	n.core.fail(err)
	n.endShard()
	n.log.close()
	n.gone()
}

// finished is the end after everything was flushed.
func (n *proc) finished() {
	c := n.f.c
	if n.core.leading() && !n.core.flushed() {
		c.Fail("%s finished and is not flushed: %s", n.p.Name, n.core.explain())
	}
	n.core.fail(nil)
	n.endShard()
	n.log.close()
	n.gone()
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
		n.p.Do(func() { n.core.close(); n.after() })
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
		f.proc.p.Do(f.proc.after)
	}
}

// drained: the node leads, and nothing is left to do.
func (f *datadir) drained() bool {
	n := f.proc
	return n != nil && !n.p.Frozen() && n.core.idle() && n.shard.drained()
}

func (f *datadir) explain() string {
	n := f.proc
	if n == nil {
		return f.name + " does not run"
	}
	s := fmt.Sprintf("%s: %s, next %d, last %d", n.p.Name, n.core.explain(), n.j.Core().Chain().Next, f.c.truth.Last)
	if n.shard != nil {
		s += fmt.Sprintf("; coordinator in phase %d has applied %d", n.shard.core.Phase(), n.shard.core.Applied())
	}
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
		if ok == v.Sealed || ok && end != v.End || open[k] == v.Sealed || v.Start != c.truth.begins[k] && !deposed {
			c.Fail("%s: partition %v is open %v at %d, in the state %+v", n.p.Name, k, ok, end, v)
		}
	})
	for _, k := range c.want.Open {
		if _, ok := n.state.Lookup(k); !ok {
			c.Fail("%s: partition %v was never opened", n.p.Name, k)
		}
	}
}

// errGone is what a client sees of a connection that breaks.
var errGone = errors.New("connection reset")
