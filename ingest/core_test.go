package ingest

import (
	"bytes"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	testTopic = segment.ID{7}
	testKey   = partlog.Key{Topic: testTopic}
	testNode  = segment.ID{3}
)

// bench is a core with a write-ahead log and a journal that the test drives.
type bench struct {
	t       testing.TB
	c       *core
	clock   time.Time
	logged  uint64
	records []wal.Record
	history journal.History
	proofs  []func(error)
	sent    []*journal.Object
	room    int
	synced  uint64 // highest Sync asked for
	back    error  // of ReadBack, after one record

	metadata   changes
	looks      int    // at metadata
	reconciled uint64 // reported last
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, clock: time.UnixMilli(1_000_000), room: 4}
	b.begin(b, b, nil)
	b.flush()
	if b.commit(); !b.c.ends.isOpen(testKey) {
		t.Fatal("the partition of the test is not open")
	}
	return b
}

// begin makes the core lead, and open the partition of the test.
func (b *bench) begin(log writeAhead, j proposer, change func(*Options)) {
	opt := Options{
		State: partlog.New(1), Recent: discard{}, Committed: func(*journal.Object) {}, FlushInterval: 100 * time.Millisecond, FlushBytes: 1 << 20, MaxUnflushed: 1 << 20,
		ProducerExpiry: time.Hour, Now: func() time.Time { return b.clock },
		Placements: b, OnReconciled: func(seq uint64) { b.reconciled = seq },
		Journal: journal.Config{Incarnation: segment.ID{4}, NewID: b.newID},
	}
	if change != nil {
		change(&opt)
	}
	b.c = newCore(opt, log, j)
	b.c.expirer.last = b.clock
	b.apply(segment.Header{Kind: segment.KindFence, Epoch: 1, Seq: 1})
	b.c.lead(1)
	b.c.accepting = true
	b.open(testKey)
}

type discard struct{}

func (discard) Add(uint64, *pooled.Buffer) {}

func (b *bench) newID() segment.ID { return segment.ID{5, byte(len(b.sent) + 1)} }

func (b *bench) Append(recs []wal.Record) (uint64, error) {
	for _, r := range recs {
		b.logged++
		r.LSN = b.logged
		r.Batch = bytes.Clone(r.Batch)
		b.records = append(b.records, r)
	}
	return b.logged, nil
}
func (b *bench) Sync(lsn uint64)    { b.synced = max(b.synced, lsn) }
func (b *bench) Release(lsn uint64) {}
func (b *bench) ReadBack(from uint64, fn func(wal.Record) error) error {
	for _, r := range b.records[from-1:] {
		if err := fn(r); err != nil {
			return err
		}
		if b.back != nil {
			return b.back
		}
	}
	return nil
}
func (b *bench) Room() bool { return len(b.sent) < b.room }
func (b *bench) Header() segment.Header {
	return segment.Header{
		Kind: segment.KindData, Cluster: segment.ID{1}, Journal: 1, Epoch: b.c.epoch,
		Seq: b.c.state.Head() + uint64(len(b.sent)) + 1, Prev: segment.Ref{Seq: 1, Object: segment.ID{6}}, Node: testNode, Incarnation: segment.ID{4},
	}
}
func (b *bench) Prove(answer func(error))  { b.proofs = append(b.proofs, answer) }
func (b *bench) History() *journal.History { return &b.history }
func (b *bench) Propose(o *journal.Object, bytes segment.Encoded) {
	b.sent = append(b.sent, o)
	bytes.Memory.Release()
}

func (b *bench) apply(h segment.Header) {
	h.Journal = 1
	if err := b.c.apply(&journal.Object{Footer: &segment.Footer{Header: h}}, false); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) flush() {
	b.t.Helper()
	if err := b.c.flush(true); err != nil {
		b.t.Fatal(err)
	}
}

// commit confirms the oldest segment under way.
func (b *bench) commit() *journal.Object {
	b.t.Helper()
	o := b.sent[0]
	b.sent = b.sent[1:]
	if err := b.c.apply(o, true); err != nil {
		b.t.Fatal(err)
	}
	return o
}

// append hands in one batch and returns where its answer will be.
func (b *bench) append(acks Acks, spec batchtest.Spec) *[]Result {
	return b.appendTo(acks, testKey, spec)
}

func (b *bench) appendTo(acks Acks, k partlog.Key, spec batchtest.Spec) *[]Result {
	var answer []Result
	b.c.append(request{acks: acks, batches: []Batch{makeBatch(b.t, k, spec)}, done: func(r []Result) {
		if answer != nil {
			b.t.Error("answered twice")
		}
		answer = r
	}})
	return &answer
}

func makeBatch(t testing.TB, k partlog.Key, spec batchtest.Spec) Batch {
	if spec.Records == nil {
		spec.Records = batchtest.Values(1000, "a", "b")
	}
	data := batchtest.Build(spec)
	h, err := batch.Validate(data, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return Batch{Key: k, Data: data, Header: h}
}

func answered(r *[]Result) bool { return *r != nil }

func TestAnswersAreAsSafeAsTheAcksAsk(t *testing.T) {
	b := newBench(t)
	none := b.append(AcksNone, batchtest.Spec{})
	leader := b.append(AcksLeader, batchtest.Spec{})
	all := b.append(AcksAll, batchtest.Spec{})
	if !answered(none) || answered(leader) || answered(all) {
		t.Fatalf("after the append: none %v, leader %v, all %v", answered(none), answered(leader), answered(all))
	}
	b.c.wasSynced(2)
	if !answered(leader) || answered(all) {
		t.Fatalf("after the sync: leader %v, all %v", answered(leader), answered(all))
	}
	b.flush()
	if answered(all) {
		t.Fatal("acks=all answered before the commit")
	}
	b.commit()
	if !answered(all) || (*all)[0].BaseOffset != 4 {
		t.Fatalf("after the commit: %v", *all)
	}
}

func TestAcksAllWaitsForEverythingAppendedBefore(t *testing.T) {
	b := newBench(t)
	b.append(AcksLeader, batchtest.Spec{})
	b.flush()
	all := b.append(AcksAll, batchtest.Spec{})
	b.flush()
	first := b.sent[0]
	b.commit()
	if answered(all) {
		t.Fatal("answered by the commit of another segment")
	}
	if w := first.Footer.Header.WAL; w.From != 1 || w.To != 2 {
		t.Fatalf("first segment covers %+v, want LSN 1", w)
	}
	b.commit()
	if !answered(all) {
		t.Fatal("not answered")
	}
}

func TestRetryOfABatchInFlightWaitsForTheOriginal(t *testing.T) {
	b := newBench(t)
	spec := batchtest.Spec{ProducerID: 9, Sequence: 0}
	original := b.append(AcksAll, spec)
	retry := b.append(AcksAll, spec)
	b.flush()
	if answered(retry) {
		t.Fatal("retry answered before its original")
	}
	b.commit()
	if (*retry)[0] != (*original)[0] || (*retry)[0].Err != nil {
		t.Fatalf("retry %+v, original %+v", (*retry)[0], (*original)[0])
	}
	if v, _ := b.c.state.Lookup(testKey); v.End != 2 {
		t.Fatalf("log ends at %d, want 2: the retry was appended", v.End)
	}
	if again := b.append(AcksAll, spec); !answered(again) || (*again)[0].BaseOffset != 0 {
		t.Fatalf("retry after the commit: %v", *again)
	}
}

func TestSequenceErrorsAreAnsweredOnceTheHeadIsProved(t *testing.T) {
	b := newBench(t)
	b.append(AcksNone, batchtest.Spec{ProducerID: 9, Epoch: 1, Sequence: 0})
	for _, tc := range []struct {
		name  string
		spec  batchtest.Spec
		proof error
		want  error
	}{
		{"gap in the sequence", batchtest.Spec{ProducerID: 9, Epoch: 1, Sequence: 7}, nil, partlog.ErrOutOfOrder},
		{"older epoch", batchtest.Spec{ProducerID: 9, Epoch: 0, Sequence: 2}, nil, partlog.ErrProducerEpoch},
		{"gap, and the leader may be deposed", batchtest.Spec{ProducerID: 9, Epoch: 1, Sequence: 7}, errors.New("no answer"), ErrNotLeader},
	} {
		r := b.append(AcksAll, tc.spec)
		if answered(r) {
			t.Fatalf("%s: answered before the head was proved", tc.name)
		}
		b.proofs[0](tc.proof)
		b.proofs = nil
		if !answered(r) || !errors.Is((*r)[0].Err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, *r, tc.want)
		}
	}
}

func TestPartitionThatIsNotOpenAcceptsNothing(t *testing.T) {
	b := newBench(t)
	r := b.appendTo(AcksAll, partlog.Key{Topic: testTopic, Index: 1}, batchtest.Spec{})
	if !errors.Is((*r)[0].Err, ErrNotLeader) {
		t.Fatalf("got %v, want %v", (*r)[0].Err, ErrNotLeader)
	}
}

func TestSealComesAfterTheRecordsAcceptedBefore(t *testing.T) {
	b := newBench(t)
	b.c.flusher.flushBytes = 1 // a segment for each batch
	first := b.append(AcksAll, batchtest.Spec{})
	second := b.append(AcksAll, batchtest.Spec{})
	sealed := b.seal(testKey)
	late := b.append(AcksAll, batchtest.Spec{})
	b.flush()
	for len(b.sent) > 0 {
		b.commit()
	}
	if !answered(first) || !answered(second) || (*second)[0].Err != nil {
		t.Fatalf("records taken before the seal: %v, %v", *first, *second)
	}
	if !errors.Is((*late)[0].Err, ErrNotLeader) {
		t.Fatalf("record after the seal: %v", *late)
	}
	if v, _ := b.c.state.Lookup(testKey); !v.Sealed || v.End != 4 || b.reconciled != sealed {
		t.Fatalf("partition is %+v, want sealed at 4; reported is seq %d", v, b.reconciled)
	}
}

func TestStallFailsWaitingClientsAndKeepsTheRecords(t *testing.T) {
	b := newBench(t)
	waiting := b.append(AcksAll, batchtest.Spec{})
	b.flush()
	b.c.stall()
	if !errors.Is((*waiting)[0].Err, ErrUnavailable) {
		t.Fatalf("waiting: %v", *waiting)
	}
	refused := b.append(AcksAll, batchtest.Spec{})
	if !errors.Is((*refused)[0].Err, ErrUnavailable) {
		t.Fatalf("new request: %v", *refused)
	}
	local := b.append(AcksLeader, batchtest.Spec{})
	b.c.wasSynced(b.logged)
	if (*local)[0].Err != nil || (*local)[0].BaseOffset != 2 {
		t.Fatalf("acks=1 during the outage: %v", *local)
	}
	b.commit()
	if after := b.append(AcksAll, batchtest.Spec{}); answered(after) {
		t.Fatalf("after the outage: %v", *after)
	}
}

func TestTheWriteAheadLogGetsTheCRCOfLargeBatches(t *testing.T) {
	b := newBench(t)
	b.append(AcksAll, batchtest.Spec{})
	b.append(AcksAll, batchtest.Spec{Records: batchtest.Values(1000, strings.Repeat("x", batch.Large))})
	small, large := b.records[0], b.records[1]
	if small.CRC != 0 {
		t.Errorf("small batch: CRC %08x, want none", small.CRC)
	}
	if want := crc32.Checksum(large.Batch, crc32.MakeTable(crc32.Castagnoli)); large.CRC != want {
		t.Errorf("large batch: CRC %08x, want %08x", large.CRC, want)
	}
}

func TestBatchesSpillToTheWriteAheadLogAndComeBackInOrder(t *testing.T) {
	b := newBench(t)
	b.c.flusher.maxMemory, b.c.flusher.flushBytes, b.room = 200, 300, 1
	b.append(AcksNone, batchtest.Spec{})
	b.flush() // takes the only place
	for range 10 {
		b.append(AcksNone, batchtest.Spec{ProducerID: 9, Epoch: -0, Sequence: int32(b.logged-1) * 2})
	}
	last := b.append(AcksAll, batchtest.Spec{})
	if b.c.flusher.buffer.spilled == 0 || b.c.flusher.unflushed() > 700 {
		t.Fatalf("%d spilled, %d bytes in memory", b.c.flusher.buffer.spilled, b.c.flusher.unflushed())
	}
	b.seal(testKey)
	b.commit()
	if b.flush(); len(b.sent) > 0 && b.c.flusher.buffer.spilled > 9 {
		t.Fatal("sent records that are not synced")
	}
	b.c.wasSynced(b.logged)
	for range 20 {
		if len(b.sent) > 0 {
			b.commit()
		}
		b.flush()
	}
	if !b.c.flusher.buffer.empty() || !answered(last) || (*last)[0].Err != nil {
		t.Fatalf("not drained: %+v, %v", b.c.flusher.buffer, *last)
	}
	if v, _ := b.c.state.Lookup(testKey); v.End != 24 || !v.Sealed {
		t.Fatalf("partition is %+v, want 24 records and the seal after them", v)
	}
}
