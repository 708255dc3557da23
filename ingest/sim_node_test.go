package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator/shard"
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
	logs    []*simLog    // on its disk, oldest first
	own     []segment.ID // its leaderships
	witness segment.Ref
	proc    *proc // nil while none runs
	wiped   int   // how often the disk was lost
	starts  int
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
	n := &proc{f: f, p: c.NewProcess(fmt.Sprintf("%s.%d", f.name, f.starts)), state: l.state, pool: pooled.NewPool(1 << 20)}
	f.proc = n
	if c.shape.Upkeep.Skew > 0 {
		n.p.Skew = c.Between(0, 2*c.shape.Upkeep.Skew) - c.shape.Upkeep.Skew
	}
	if n.snapshots, err = shard.DecodeSnapshots(l.attached); err != nil {
		c.Fail("%s: %w", n.p.Name, err)
		return
	}
	n.live(l)
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
	n.cancel()
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
		n.p.Do(func() {
			n.owner.Do(n.core.close)
			if n.over {
				n.owner.Do(func() { n.owner.End(nil) })
			}
		})
		return
	}
	c.Count("crash")
	wipe := c.Chance(c.shape.Wipe)
	n.log.crash()
	n.gone()
	if wipe {
		c.Count("disk lost")
		f.logs, f.own, f.witness = nil, nil, segment.Ref{}
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
