package ingest_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/metadata/coordinator/shard/shardtest"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var key = partlog.Key{Topic: segment.ID{7}, Index: 3}

// bucket survives its processes.
type bucket struct {
	t         testing.TB
	store     *mem.Store
	snapshots *shard.Snapshots
	starts    byte
}

func newBucket(t testing.TB) *bucket {
	return &bucket{t: t, store: mem.New(time.Now, nil), snapshots: shard.NewSnapshots()}
}

// node is a process: a leader of the journal, and a Shard in one partition of it.
type node struct {
	*bucket
	state   *partlog.State
	leader  *ingest.Leader
	machine *shardtest.Registers
	shard   *shard.Shard
}

type discard struct{}

func (discard) Add(uint64, *buffer.Buffer) {}

// onePartition is a journal 0 that says of the journal that key lives in it.
type onePartition struct{}

func (onePartition) Placed(_ uint32, since uint64) metadata.Placed {
	if since > 0 {
		return metadata.Placed{Seq: 1}
	}
	return metadata.Placed{Seq: 1, Open: []partlog.Key{key}}
}

func (onePartition) Watch(chan<- struct{}) func() { return func() {} }

func (b *bucket) start() *node {
	b.t.Helper()
	b.starts++
	n := &node{bucket: b, state: partlog.New(1), machine: shardtest.New()}
	incarnation, node := segment.ID{8, b.starts}, segment.ID{3, b.starts}
	opened := make(chan uint64, 1)
	j := ingest.Open(ingest.Options{
		Placements: onePartition{}, OnReconciled: func(seq uint64) { opened <- seq },
		Store: b.store, State: n.state, Recent: discard{}, Committed: func(*journal.Object) {}, FlushInterval: 5 * time.Millisecond,
		Journal: journal.Config{
			Chain: journal.NewChain(segment.ID{1}, 1, 4), Node: node,
			NewID: segment.NewID, NowMs: func() int64 { return time.Now().UnixMilli() },
		},
		WAL: wal.Options{Dir: b.t.TempDir(), Cluster: segment.ID{1}, Node: node, Journal: 1, SegmentBytes: 1 << 20},
		Log: slog.New(slog.DiscardHandler), Pace: journal.NewPace(func() time.Duration { return time.Second }), OnLost: func(err error) error { return err },
	})
	b.t.Cleanup(j.Close)
	leader, err := j.Lead(ingest.Term{Incarnation: incarnation})
	if err != nil {
		b.t.Fatal(err)
	}
	n.leader = leader
	<-leader.Ready()
	<-opened
	n.shard, err = shard.Start(shard.Options{
		Key: key, Machine: n.machine, Partition: partition{leader.Partition(key), n},
		Snapshots: b.snapshots, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// partition reads the objects of the journal one after the other.
type partition struct {
	ingest.LedPartition
	n *node
}

func (p partition) Append(ctx context.Context, data []byte, h batch.Header, done func(int64, error)) {
	p.LedPartition.Append(ctx, data, h, func(base int64, err error) {
		done(base, shard.AppendError(err, ingest.ErrNotLeader, ingest.ErrClosed))
	})
}

func (p partition) Compacted() (records, tombstones int64) { return 0, 0 }

func (p partition) Scan(ctx context.Context, from int64, fn func([]byte) error) (int64, error) {
	if err := p.n.leader.Prove(ctx); err != nil {
		return from, err
	}
	end, _ := p.Committed()
	for from < end {
		extents, _, _, _ := p.n.state.Find(key, from, 10)
		for _, e := range extents {
			b, err := objstore.ReadRange(ctx, p.n.store, e.Object.Key(), int64(e.Position), int64(e.Length))
			if err != nil {
				return from, err
			}
			err = batch.Walk(b, func(pos int, h batch.Header) error { return fn(b[pos : pos+h.Size()]) })
			if err != nil {
				return from, err
			}
			from = e.Last + 1
		}
	}
	return end, nil
}

// stop ends a process. kill looks to the bucket like kill -9.
func (n *node) stop() {
	n.shard.Close()
	n.leader.Close(n.t.Context())
}

func (n *node) kill() {
	ctx, cancel := context.WithCancel(n.t.Context())
	cancel()
	n.leader.Close(ctx)
	n.shard.Close()
}

// set waits for the number to be committed.
func (n *node) set(name string, value, pad int) error {
	done := make(chan error, 1)
	n.shard.Do(func(out coordinator.Out, err error) {
		if err != nil {
			done <- err
			return
		}
		n.machine.Set(out, name, value, pad, func(err error) { done <- err })
	})
	return <-done
}

func (n *node) get(name string) (value int, err error) {
	if n.leader != nil {
		if err := n.leader.Prove(n.t.Context()); err != nil {
			return 0, err
		}
	}
	done := make(chan error, 1)
	n.shard.Read(func(_ coordinator.Out, err error) {
		value = n.machine.Get(name)
		done <- err
	})
	return value, <-done
}

// loaded waits until it leads.
func (n *node) loaded() {
	n.t.Helper()
	for {
		_, err := n.get("")
		if err == nil {
			return
		}
		if !errors.Is(err, coordinator.ErrLoading) {
			n.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStateIsThatOfTheRecordsAfterARestart(t *testing.T) {
	b := newBucket(t)
	n := b.start()
	n.loaded()
	for i := range 20 {
		if err := n.set("a", i+1, 10<<10); err != nil {
			t.Fatal(err)
		}
	}
	n.kill()
	if err := n.set("a", 21, 0); !errors.Is(err, coordinator.ErrNotCoordinator) {
		t.Errorf("after the end: %v", err)
	}
	n = b.start()
	defer n.stop()
	n.loaded()
	if got, err := n.get("a"); got != 20 || err != nil {
		t.Errorf("a is %d, %v", got, err)
	}
	stats := n.shard.Stats()
	if stats.Phase != shard.Leading || stats.Applied != 20 || stats.Scanned == 0 || stats.Scanned > 100<<10 {
		t.Errorf("loaded from a snapshot and the records after it: %+v", stats)
	}
}

func TestCommitsThatWaitShareABatch(t *testing.T) {
	n := newBucket(t).start()
	defer n.stop()
	n.loaded()
	before := n.shard.Stats().Appended
	begun, goOn := make(chan struct{}), make(chan struct{})
	n.shard.Do(func(coordinator.Out, error) { close(begun); <-goOn })
	<-begun
	var wg sync.WaitGroup
	wg.Add(200)
	for i := range 200 {
		n.shard.Do(func(out coordinator.Out, err error) {
			n.machine.Set(out, "a", i+1, 0, func(err error) {
				if err != nil {
					t.Error(err)
				}
				wg.Done()
			})
		})
	}
	close(goOn)
	wg.Wait()
	if _, err := n.get("a"); err != nil { // the counts follow a burst
		t.Fatal(err)
	}
	if got := n.shard.Stats().Appended - before; got != 1 {
		t.Errorf("%d batches for 200 commits", got)
	}
}

// full is a partition that has no room.
type full struct {
	waiting chan context.Context // of the append that waits for room
	goOn    chan struct{}
}

func (p full) Append(ctx context.Context, _ []byte, _ batch.Header, done func(int64, error)) {
	p.waiting <- ctx
	<-p.goOn
	done(-1, coordinator.ErrUnavailable)
}

func (p full) AppendEnd() (int64, bool)             { return 0, true }
func (p full) Committed() (int64, bool)             { return 0, true }
func (p full) Done() <-chan struct{}                { return nil }
func (full) Compacted() (records, tombstones int64) { return 0, 0 }

func (p full) Scan(context.Context, int64, func([]byte) error) (int64, error) {
	return 0, nil
}

// TestAppendsDoNotGatherWhileThereIsNoRoom: one that has waited for its limit behind
// another does not wait for as long again.
func TestAppendsDoNotGatherWhileThereIsNoRoom(t *testing.T) {
	var passed atomic.Int64
	begin := time.Now()
	p := full{waiting: make(chan context.Context), goOn: make(chan struct{})}
	n := &node{bucket: newBucket(t), machine: shardtest.New()}
	var err error
	n.shard, err = shard.Start(shard.Options{
		Key: key, Machine: n.machine, Partition: p, Snapshots: n.snapshots,
		Now: func() time.Time { return begin.Add(time.Duration(passed.Load())) }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.shard.Close()
	n.loaded()
	outcomes := make(chan error, 2)
	for i := range 2 {
		go func() { outcomes <- n.set("a", i+1, 0) }()
		for n.shard.Stats().Appended <= int64(i) {
			time.Sleep(time.Millisecond)
		}
	}
	if ctx := <-p.waiting; ctx.Err() != nil {
		t.Errorf("the first append has no time: %v", ctx.Err())
	}
	passed.Store(int64(time.Hour))
	p.goOn <- struct{}{}
	if ctx := <-p.waiting; ctx.Err() == nil {
		t.Error("the second append got time of its own")
	}
	p.goOn <- struct{}{}
	for range 2 {
		if err := <-outcomes; !errors.Is(err, coordinator.ErrUnavailable) {
			t.Errorf("outcome is %v", err)
		}
	}
}

func TestLostLeadershipEndsIt(t *testing.T) {
	b := newBucket(t)
	old := b.start()
	old.loaded()
	if err := old.set("a", 1, 0); err != nil {
		t.Fatal(err)
	}
	n := b.start()
	defer n.stop()
	n.loaded()
	if err := n.set("a", 2, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := old.get("a"); err == nil {
		t.Errorf("deposed leader gives %d", got)
	}
	if err := old.set("a", 3, 0); !errors.Is(err, coordinator.ErrNotCoordinator) {
		t.Errorf("deposed leader: %v", err)
	}
	old.shard.Close()
	<-old.leader.Done()
	if got, err := n.get("a"); got != 2 || err != nil {
		t.Errorf("a is %d, %v", got, err)
	}
}

func BenchmarkCommits(b *testing.B) {
	n := newBucket(b).start()
	defer n.stop()
	n.loaded()
	var wg sync.WaitGroup
	b.ReportAllocs()
	value := 0
	for b.Loop() {
		value++
		v := value
		wg.Add(1)
		n.shard.Do(func(out coordinator.Out, err error) {
			if err != nil {
				b.Error(err)
			}
			n.machine.Set(out, "a", v, 60, func(error) { wg.Done() })
		})
		if value%1000 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
}
