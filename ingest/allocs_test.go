package ingest

import (
	"runtime"
	"strings"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// noLog counts and keeps nothing.
type noLog struct{ last uint64 }

func (l *noLog) Append(recs []wal.Record) (uint64, error) {
	l.last += uint64(len(recs))
	return l.last, nil
}
func (l *noLog) Sync(uint64)                                   {}
func (l *noLog) Release(uint64)                                {}
func (l *noLog) ReadBack(uint64, func(wal.Record) error) error { return nil }

// The allocations of accepting a request, however many batches it has: its
// results, the records for the write-ahead log, and at times a longer buffer.
const maxAppendAllocs = 3

func TestAppendAllocatesNothingForEachBatch(t *testing.T) {
	for _, batches := range []int{1, 100} {
		b := newBench(t)
		b.c.wal = &noLog{last: b.logged}
		b.c.flusher.buffer.batches = make([]buffered, 0, 100_000) // as long as it has become under load
		data := makeBatch(t, testKey, batchtest.Spec{Records: batchtest.Values(1000, "a", "b")}).Data
		h, err := batch.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		request := request{acks: AcksLeader, done: func([]Result) {}}
		for range batches {
			request.batches = append(request.batches, Batch{Key: testKey, Data: data, Header: h})
		}
		b.c.answers.onSync.queue = make([]waiter, 0, 1000)
		n := testing.AllocsPerRun(100, func() { b.c.append(request) })
		if n > maxAppendAllocs {
			t.Errorf("a request with %d batches takes %v allocations, at most %d", batches, n, maxAppendAllocs)
		}
	}
}

// The bytes of an object lie in memory that is used again, and its footer costs little.
func TestAnObjectOfUsedMemoryAllocatesLittle(t *testing.T) {
	b := newPooledBench(t)
	b.objects = pooled.NewPool(16 << 20)
	b.c.pool = b.objects
	value := strings.Repeat("x", 15<<10)
	var list []buffered
	for base := range int64(500) {
		x := makeBatch(t, testKey, batchtest.Spec{Records: batchtest.Values(1000, value)})
		batch.Patch(x.Data, base, 1)
		x.Header.BaseOffset, x.Header.LeaderEpoch = base, 1
		list = append(list, buffered{key: testKey, data: x.Data, header: x.Header})
	}
	h := b.Header()
	h.Object = segment.ID{5}
	build := func() {
		e, _, err := segment.Encode(b.objects, h, nil, group(list, func(partlog.Key) int32 { return 1 }))
		if err != nil {
			t.Fatal(err)
		}
		e.Memory.Release()
	}
	build()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	build()
	runtime.ReadMemStats(&after)
	const most = 64 << 10
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("an object of %d bytes allocates %d, at most %d", b.objects.Free(), n, most)
	}
}

// A segment costs the same number of allocations, however many batches it has.
func TestASegmentAllocatesNothingForEachBatch(t *testing.T) {
	allocs := func(batches int) float64 {
		b := newBench(t)
		var list []buffered
		base := int64(0)
		for range batches {
			x := makeBatch(t, testKey, batchtest.Spec{Records: batchtest.Values(1000, "a")})
			batch.Patch(x.Data, base, 1)
			x.Header.BaseOffset, x.Header.LeaderEpoch = base, 1
			list = append(list, buffered{key: testKey, data: x.Data, header: x.Header})
			base++
		}
		h := b.Header()
		h.Object = segment.ID{5}
		return testing.AllocsPerRun(20, func() {
			if _, _, err := segment.Build(h, nil, group(list, func(partlog.Key) int32 { return 1 })); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocs(10), allocs(5000)
	// The sparse index, which grows by doubling, is the difference.
	if many > few+8 {
		t.Errorf("a segment of 10 batches takes %v allocations, one of 5,000 takes %v", few, many)
	}
}
