package ingest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is a node's data folder and the bucket, which survive a process.
type folder struct {
	t     *testing.T
	store *mem.Store
	node  segment.ID
	dir   string
	ids   *atomic.Uint32
	own   []segment.ID // leaderships that it knows to be its own

	checkpoints journal.CheckpointPolicy
	change      func(*Options) // may be nil
}

func newFolder(t *testing.T) *folder {
	return &folder{t: t, store: mem.New(time.Now, nil), node: testNode, dir: t.TempDir(), ids: new(atomic.Uint32)}
}

// newFlakyFolder is a folder with a bucket that takes nothing while down is set.
func newFlakyFolder(t *testing.T) (f *folder, down *atomic.Bool) {
	f, down = newFolder(t), new(atomic.Bool)
	f.store = mem.New(time.Now, func(c mem.Call) mem.Action {
		if down.Load() && c.Op == objstore.OpCreate {
			return mem.FailBefore(errors.New("bucket is away"))
		}
		return mem.Action{}
	})
	return f, down
}

// other is another node's folder on the same bucket.
func (f *folder) other() *folder {
	return &folder{t: f.t, store: f.store, node: segment.ID{8}, dir: f.t.TempDir(), ids: f.ids}
}

// start starts a Leader, as a new process would. The process ends with the leadership.
func (f *folder) start() *Leader {
	f.t.Helper()
	_, l := f.open(func(err error) error { return cmp.Or(err, errProcess) })
	return l
}

// errProcess is the end of a process that was asked for.
var errProcess = errors.New("the process ends")

// open starts a process that leads the journal. It ends with the test.
func (f *folder) open(onLost func(error) error) (*Journal, *Leader) {
	f.t.Helper()
	j := f.prepare(onLost)
	return j, f.lead(j)
}

// prepare starts a process that has the journal. It ends with the test.
func (f *folder) prepare(onLost func(error) error) *Journal {
	newID := func() segment.ID {
		id := f.ids.Add(1)
		return segment.ID{9, byte(id >> 8), byte(id)}
	}
	opt := Options{
		Store: f.store, State: partlog.New(1), Recent: discard{}, Committed: func(*journal.Object) {}, FlushInterval: 5 * time.Millisecond,
		Journal: journal.Config{
			Chain: journal.NewChain(segment.ID{1}, 1, 4), Node: f.node,
			NewID: newID, NowMs: func() int64 { return time.Now().UnixMilli() },
		},
		WAL:  wal.Options{Dir: f.dir, Cluster: segment.ID{1}, Node: f.node, Journal: 1, SegmentBytes: 1 << 20},
		Pace: journal.NewPace(func() time.Duration { return 10 * time.Millisecond }), OnLost: onLost,
		Log: slog.New(slog.DiscardHandler), Checkpoints: f.checkpoints, Placements: oneTopic(f.t),
	}
	if f.change != nil {
		f.change(&opt)
	}
	j := Open(opt)
	f.t.Cleanup(j.Close)
	return j
}

// lead has a journal led.
func (f *folder) lead(j *Journal) *Leader {
	f.t.Helper()
	id := f.ids.Add(1)
	l, err := j.Lead(Term{Incarnation: segment.ID{9, byte(id >> 8), byte(id)}, Own: f.own})
	if err != nil {
		f.t.Fatal(err)
	}
	select {
	case <-l.Ready():
	case <-l.Done():
		f.t.Fatal(l.Err())
	}
	return l
}

// oneTopic is a journal 0 with testKey's topic.
func oneTopic(t *testing.T) *metadata.State {
	s := metadata.New()
	var entries []segment.Entry
	for _, c := range []metadata.Change{
		metadata.FeatureLevel{Level: 1}, metadata.JournalCreated{ID: 1},
		metadata.TopicCreated{ID: testTopic, Name: "t", ReplicationFactor: 1, Journals: []uint32{1}},
	} {
		e, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := s.Apply(&segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: 1, Epoch: 1}}, entries); err != nil {
		t.Fatal(err)
	}
	return s
}

func appendOne(t *testing.T, l *Leader, acks Acks, spec batchtest.Spec) Result {
	t.Helper()
	answer := make(chan []Result, 1)
	l.Append(t.Context(), acks, []Batch{makeBatch(t, testKey, spec)}, func(r []Result) { answer <- r })
	return (<-answer)[0]
}

func openTestKey(t *testing.T, l *Leader) {
	t.Helper()
	for {
		if _, open := l.AppendEnd(testKey); open {
			return
		}
		select {
		case <-l.Done():
			t.Fatal(l.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// kill ends a Leader as kill -9 would, from the bucket's side: no more requests
// reach it. The write-ahead log is as it was.
func (f *folder) kill(l *Leader) {
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	l.Close(ctx)
}

func closeLeader(t *testing.T, l *Leader) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCleanRestartGoesOnWhereItEnded(t *testing.T) {
	f := newFolder(t)
	l := f.start()
	openTestKey(t, l)
	if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != 0 {
		t.Fatalf("%+v", r)
	}
	local := appendOne(t, l, AcksLeader, batchtest.Spec{})
	closeLeader(t, l)
	l = f.start()
	defer closeLeader(t, l)
	if v, _ := l.opt.State.Lookup(testKey); v.End != local.BaseOffset+2 {
		t.Fatalf("log ends at %d after a clean restart, want %d", v.End, local.BaseOffset+2)
	}
	if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.BaseOffset != 4 {
		t.Fatalf("%+v, want offset 4", r)
	}
}

func TestRestartReplaysWhatWasOnlyInTheWriteAheadLog(t *testing.T) {
	f, down := newFlakyFolder(t)
	l := f.start()
	openTestKey(t, l)
	appendOne(t, l, AcksAll, batchtest.Spec{ProducerID: 5, Sequence: 0})
	down.Store(true)
	spec := batchtest.Spec{ProducerID: 5, Sequence: 2}
	local := appendOne(t, l, AcksLeader, spec)
	if local.Err != nil {
		t.Fatal(local.Err)
	}
	f.kill(l)
	down.Store(false)
	l = f.start()
	defer closeLeader(t, l)
	if v, _ := l.opt.State.Lookup(testKey); v.End != 4 || l.SetAside() != 0 {
		t.Fatalf("log ends at %d with %d records set aside, want 4 and 0", v.End, l.SetAside())
	}
	if r := appendOne(t, l, AcksAll, spec); r.Err != nil || r.BaseOffset != local.BaseOffset {
		t.Fatalf("retry across the restart: %+v, want the original's offset %d", r, local.BaseOffset)
	}
}

func TestRecordsAreSetAsideWhenAnotherNodeLedSince(t *testing.T) {
	f, down := newFlakyFolder(t)
	l := f.start()
	openTestKey(t, l)
	down.Store(true)
	appendOne(t, l, AcksLeader, batchtest.Spec{})
	f.kill(l)
	down.Store(false)
	other := f.other().start()
	if r := appendOne(t, other, AcksAll, batchtest.Spec{}); r.Err != nil || r.BaseOffset != 0 {
		t.Fatalf("%+v", r)
	}
	closeLeader(t, other)
	l = f.start()
	defer closeLeader(t, l)
	if v, _ := l.opt.State.Lookup(testKey); v.End != 2 {
		t.Fatalf("log ends at %d, want 2", v.End)
	}
	aside, err := wal.Aside(l.opt.WAL)
	if err != nil || len(aside) != 1 {
		t.Fatalf("aside: %v, %v", aside, err)
	}
}

func TestFencedLeaderAnswersNothingMore(t *testing.T) {
	f := newFolder(t)
	l := f.start()
	openTestKey(t, l)
	other := f.other().start()
	defer closeLeader(t, other)
	r := appendOne(t, l, AcksAll, batchtest.Spec{})
	if !errors.Is(r.Err, ErrNotLeader) {
		t.Fatalf("%+v, want %v", r, ErrNotLeader)
	}
	<-l.Done()
	if !errors.Is(l.Err(), journal.ErrFenced) {
		t.Fatalf("ended with %v, want %v", l.Err(), journal.ErrFenced)
	}
	if r := appendOne(t, l, AcksLeader, batchtest.Spec{}); !errors.Is(r.Err, ErrNotLeader) {
		t.Fatalf("%+v, want %v", r, ErrNotLeader)
	}
}

func TestALeaderMovesTheFloorAndGivesUpAtARivals(t *testing.T) {
	f := newFolder(t)
	f.checkpoints = journal.CheckpointPolicy{Every: 2, Most: 3, Behind: 1}
	l := f.start()
	openTestKey(t, l)
	moved := func(n uint64) bool { _, ok := f.store.GetNow(segment.FloorKey(1, n)); return ok }
	for !moved(2) {
		if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	rival := segment.Floor{Journal: 1, N: 2, Floor: 1 << 20, Checkpoint: "x", Hash: [32]byte{1}, Object: segment.ID{66}, Cluster: segment.ID{1}}
	for taken := true; taken; {
		rival.N++
		b, err := segment.EncodeFloor(rival)
		if err != nil {
			t.Fatal(err)
		}
		taken = f.store.CreateNow(segment.FloorKey(1, rival.N), b) != nil
	}
	for appendOne(t, l, AcksAll, batchtest.Spec{}).Err == nil {
	}
	<-l.Done()
	if !errors.Is(l.Err(), journal.ErrFenced) {
		t.Fatalf("ended with %v, want %v", l.Err(), journal.ErrFenced)
	}
}

// TestClientsThatWaitGetAFlush: also a coordinator, with an interval that is an hour away.
func TestClientsThatWaitGetAFlush(t *testing.T) {
	f := newFolder(t)
	f.change = func(o *Options) { o.FlushInterval = time.Hour }
	l := f.start()
	defer closeLeader(t, l)
	openTestKey(t, l)
	for range 3 {
		if r := appendOne(t, l, AcksAll, batchtest.Spec{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		committed := make(chan error, 1)
		b := makeBatch(t, testKey, batchtest.Spec{})
		l.Partition(testKey).Append(t.Context(), b.Data, b.Header, func(_ int64, err error) { committed <- err })
		if err := <-committed; err != nil {
			t.Fatal(err)
		}
	}
}
