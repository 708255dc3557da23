package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/metadata/coordinator/shard/shardtest"
	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// This simulation is that of sim_test.go with a coordinator in one of the
// partitions. Its Machine must have the state that the partition's records
// result in, live as after a take-over, with any faults.

var simCoordinator = partlog.Key{Topic: segment.ID{6, 1}, Index: 3}

// drawShards is drawShape with clients of a coordinator.
func drawShards(r *rand.Rand) shape {
	s := drawShape(r)
	s.Committers, s.Producers, s.Consumers = 1+r.Intn(3), 1+r.Intn(2), r.Intn(2)
	if r.Float64() < 0.3 { // unknown outcomes that are committed later
		s.Outage = 5*time.Second + time.Duration(r.Intn(10))*time.Second
	} else {
		s.Chaos /= 2
	}
	s.DiskError, s.DiskFull = 0, s.DiskFull*2
	s.FlushInterval = min(s.FlushInterval, 250*time.Millisecond)
	return s
}

var shardSimulation = sim.Shape[shape]{
	Draw: drawShards, Run: simulate,
	Less: append([]func(shape) (shape, bool){
		func(s shape) (shape, bool) { can := s.Committers > 1; s.Committers--; return s, can },
	}, lessShape...),
	Must: []string{
		"coordinator led", "coordinator taken over", "coordinator restored from a snapshot", "coordinator resigned", "coordinator read",
		"commit acknowledged", "commit unknown", "commit refused", "scan failed", "records of others applied by a scan", "appends shared a batch",
		"records replayed",
	},
}

func TestShardSimulation(t *testing.T) { sim.Run(t, shardSimulation, 1000, 150) }

func TestShardSimulationReplaysExactly(t *testing.T) {
	if err := sim.Replays(shardSimulation, 10); err != nil {
		t.Fatal(err)
	}
}

// shardTruth is the state that the coordinator's partition results in.
type shardTruth struct {
	state  *shardtest.Registers
	states []string // by how many records are in them
	led    int
}

// extend takes the next batch of a partition that is committed.
func (t *shardTruth) extend(w *sim.World, k partlog.Key, a *attempt, base int64) {
	if k != simCoordinator {
		return
	}
	if t.state == nil {
		t.state = shardtest.New()
		t.states = []string{string(t.state.Snapshot())}
	}
	err := batch.Records(a.data, 1<<20, func(r batch.Record) bool {
		at := coordinator.Position{Offset: base + r.Offset, TimestampMs: r.Timestamp}
		if err := t.state.Apply(at, coordinator.Record{Key: r.Key, Value: r.Value}); err != nil {
			w.Fail("coordinator's partition at offset %d: %w", at.Offset, err)
		}
		t.states = append(t.states, string(t.state.Snapshot()))
		return true
	})
	if err != nil {
		w.Fail("coordinator's partition at offset %d: %w", base, err)
	}
}

// committed is the number that a key has in the log.
func (t *shardTruth) committed(key string) int {
	if t.state == nil {
		return 0
	}
	return t.state.Get(key)
}

// same checks that a Machine has the state that the records before an offset
// result in.
func (t *shardTruth) same(w *sim.World, who string, offset int64, state []byte) {
	want := string(shardtest.New().Snapshot())
	if t.state != nil {
		if offset >= int64(len(t.states)) {
			w.Fail("%s has applied offset %d, %d are committed", who, offset, len(t.states)-1)
			return
		}
		want = t.states[offset]
	}
	if string(state) != want {
		w.Fail("%s has at offset %d the state\n%s, the records add up to\n%s", who, offset, state, want)
	}
}

// simShard is a coordinator of a process. It is the World of its Core, and gathers
// events as shard.Shard does.
type simShard struct {
	n         *proc
	core      *shard.Core
	machine   *shardtest.Registers
	events    []func()
	scheduled bool
	outbox    []func()
	timer     time.Time
	next      time.Duration // when the next answer of the leader arrives, at the earliest
	restored  bool
	acked     []int // by the committers, when the last scan was asked for
}

// startShard starts the coordinator once its partition is open.
func (n *proc) startShard() {
	if n.shard != nil {
		n.shard.pump()
		return
	}
	if _, open := n.state.Lookup(simCoordinator); !open || !n.ready || n.f.c.own == 0 {
		return
	}
	s := &simShard{n: n, machine: shardtest.New()}
	if n.f.c.Chance(0.3) {
		s.machine.Every = n.f.c.Between(time.Second, 10*time.Second)
	}
	s.machine.Led = s.led
	s.machine.Resigned = func(error) { n.f.c.Count("coordinator resigned") }
	from, _ := n.snapshots.Get(simCoordinator)
	s.restored = from.Offset > 0
	core, err := shard.NewCore(s.machine, from, s)
	if err != nil {
		n.f.c.Fail("%s: %w", n.p.Name, err)
		return
	}
	s.core, n.shard = core, s
	n.f.c.truth.shard.same(n.f.c.World, n.p.Name+" restored", core.Applied(), s.machine.Snapshot())
	core.Start()
}

// drained: everything that is committed is applied.
func (s *simShard) drained() bool {
	if s == nil {
		return true // no committer could be idle without one
	}
	end, _ := s.Committed()
	return s.core.Phase() == shard.Leading && s.core.Applied() == end
}

func (n *proc) endShard() {
	if n.shard != nil {
		n.shard.core.End(coordinator.ErrNotCoordinator)
	}
}

// led checks that the applied state follows from the records, and that it
// includes everything acknowledged before the scan that ends the load. A process that
// stops during the scan may lack commits that another acknowledges until it goes on.
func (s *simShard) led() {
	c := s.n.f.c
	c.Count("coordinator led")
	if c.truth.shard.led++; c.truth.shard.led > 1 {
		c.Count("coordinator taken over")
	}
	if s.restored {
		c.Count("coordinator restored from a snapshot")
	}
	for i, m := range c.committers {
		if got := s.machine.Get(m.key); got < s.acked[i] {
			c.Fail("%s leads with %d for %s, %d was acknowledged", s.n.p.Name, got, m.key, s.acked[i])
		}
	}
}

// push lets an event have its turn, in a burst with others.
func (s *simShard) push(event func()) {
	s.events = append(s.events, event)
	if !s.scheduled {
		s.scheduled = true
		s.n.p.After(s.n.f.c.Between(0, 2*time.Millisecond), "burst", s.burst)
	}
}

func (s *simShard) burst() {
	s.scheduled = false
	events := s.events
	s.events = nil
	if s.n.f.c.quiet {
		s.machine.Every = 0
	}
	next := s.core.Burst(events)
	c := s.n.f.c
	if err := s.core.Failed(); err != nil {
		c.Fail("%s: %w", s.n.p.Name, err)
	}
	if s.core.Phase() != shard.Ended {
		c.truth.shard.same(c.World, s.n.p.Name, s.core.Applied(), s.machine.Snapshot())
	}
	s.setTimer(next)
}

func (s *simShard) setTimer(at time.Time) {
	if at.IsZero() || s.timer.After(s.Now()) && !s.timer.After(at) {
		return
	}
	s.timer = at
	s.n.p.After(at.Sub(s.Now()), "coordinator's timer", func() { s.push(func() {}) })
}

func (s *simShard) Now() time.Time { return s.n.f.c.Now() }

func (s *simShard) TopicGone(string, [16]byte) bool { return false }

func (s *simShard) AppendEnd() (int64, bool) { return s.n.core.ends.next(simCoordinator) }

func (s *simShard) Compacted() (records, tombstones int64) { return 0, 0 }

func (s *simShard) Committed() (int64, bool) {
	v, ok := s.n.state.Lookup(simCoordinator)
	return v.End, ok && !v.Sealed
}

// noClient is the producer of a coordinator's batches.
var noClient = &producer{name: "coordinator"}

// Append hands a batch to the leader as soon as the disk takes more.
func (s *simShard) Append(token uint64, data []byte, h batch.Header) {
	c := s.n.f.c
	if h.Records > 1 {
		c.Count("appends shared a batch")
	}
	a := &attempt{key: simCoordinator, data: data, header: h, producer: noClient, sequence: -1}
	c.truth.attempts[content(data)] = a
	s.outbox = append(s.outbox, func() {
		s.n.core.append(request{acks: AcksAll, batches: []Batch{{Key: simCoordinator, Data: bytes.Clone(data), Header: h}}, done: func(results []Result) {
			err := shard.AppendError(results[0].Err, ErrNotLeader, ErrClosed)
			s.answer("appended", func() { s.core.Appended(token, results[0].BaseOffset, err) })
		}})
	})
	s.n.p.After(c.Between(0, time.Millisecond), "coordinator appends", s.n.owner.Wake)
}

// answer runs an event from the leader's goroutine, in order.
func (s *simShard) answer(what string, event func()) {
	c := s.n.f.c
	s.next = max(s.next, c.Elapsed()+c.Between(0, 3*time.Millisecond))
	s.n.p.After(s.next-c.Elapsed(), what, func() { s.push(event) })
}

func (s *simShard) pump() {
	for len(s.outbox) > 0 && !s.n.log.full && !s.n.p.Dead() {
		send := s.outbox[0]
		s.outbox = s.outbox[1:]
		send()
	}
}

// read has the head proved for a Read of the Core, as a supervisor does.
func (s *simShard) read(fn func(coordinator.Out, error)) {
	s.ask(func(err error) {
		if err != nil {
			fn(nil, fmt.Errorf("%w: %w", coordinator.ErrUnavailable, err))
			return
		}
		s.answer("proved", func() { s.core.Read(fn) })
	})
}

var errScan = errors.New("object not found")

// Scan reads the committed records in pieces, once the head is proved.
func (s *simShard) Scan(from int64) {
	c := s.n.f.c
	s.acked = s.acked[:0]
	for _, m := range c.committers {
		s.acked = append(s.acked, m.acked)
	}
	s.ask(func(err error) {
		if err != nil {
			s.answer("scan not begun", func() { s.core.ScanDone(0, err) })
			return
		}
		end, _ := s.Committed()
		s.scan(from, end)
	})
	c.Logf("%s scans from %d", s.n.p.Name, from)
}

func (s *simShard) scan(from, end int64) {
	c := s.n.f.c
	log := slices.Clone(c.truth.log[simCoordinator])
	var step func()
	step = func() {
		var page []byte
		for len(log) > 0 && len(page) < 2000 && log[0].base < end {
			if p := log[0]; p.base+int64(p.a.header.LastOffsetDelta) >= from {
				data := bytes.Clone(p.a.data)
				batch.Patch(data, p.base, 1)
				page = append(page, data...)
			}
			log = log[1:]
		}
		switch {
		case !c.quiet && c.Chance(0.1):
			c.Count("scan failed")
			s.push(func() { s.core.ScanDone(0, errScan) })
		case len(page) == 0:
			s.push(func() { s.core.ScanDone(end, nil) })
		default:
			s.push(func() {
				before := s.core.Applied()
				if err := s.core.Scanned(page); err != nil {
					c.Fail("%s: %w", s.n.p.Name, err)
				}
				if s.core.Phase() == shard.Leading && s.core.Applied() > before {
					c.Count("records of others applied by a scan")
				}
				s.n.p.After(c.Between(0, 100*time.Millisecond), "scan on", step)
			})
		}
	}
	step()
}

func (s *simShard) Publish(snapshot shard.Snapshot) {
	c := s.n.f.c
	c.truth.shard.same(c.World, s.n.p.Name+" publishes", snapshot.Offset, snapshot.State)
	s.n.snapshots.Put(simCoordinator, snapshot)
}

func (s *simShard) Trouble(error) {}

// committed takes the answer to a commit.
func (m *committer) committed(s *simShard, value int, err error, answered func() bool) {
	c := m.c
	switch {
	case err != nil:
		c.Count("commit unknown")
		m.failed(err)
	case c.truth.shard.committed(m.key) < value:
		c.Fail("%s acknowledged %d for %s, the log has %d", s.n.p.Name, value, m.key, c.truth.shard.committed(m.key))
	case s.machine.Get(m.key) < value:
		c.Fail("%s acknowledged %d for %s before it was applied", s.n.p.Name, value, m.key)
	default:
		c.Count("commit acknowledged")
		m.acked = max(m.acked, value)
	}
	answered()
}

// checkShards holds the snapshot of the newest checkpoint against the records.
func (c *cluster) checkShards(l loaded) {
	if c.own == 0 {
		return
	}
	snapshots, err := shard.DecodeSnapshots(l.attached)
	if err != nil {
		c.Fail("snapshots of the last checkpoint: %w", err)
		return
	}
	if s, ok := snapshots.Get(simCoordinator); ok {
		c.truth.shard.same(c.World, "the last checkpoint", s.Offset, s.State)
	}
}
