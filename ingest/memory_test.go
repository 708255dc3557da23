package ingest

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// pooledBench is a bench whose batches lie in frames of a pool, as its objects do.
type pooledBench struct {
	*bench
	frames, objects *pooled.Pool
}

func newPooledBench(t *testing.T) *pooledBench {
	b := &pooledBench{bench: newBench(t), frames: pooled.NewPool(1 << 20), objects: pooled.NewPool(1 << 20)}
	b.c.pool = b.objects
	return b
}

// send hands in a batch as a connection does: it holds the frame until the answer.
func (b *pooledBench) send(acks Acks, k partlog.Key, spec batchtest.Spec) {
	x := makeBatch(b.t, k, spec)
	x.Memory = b.frames.Get(len(x.Data))
	copy(x.Memory.Bytes(), x.Data)
	x.Data = x.Memory.Bytes()
	b.c.append(request{acks: acks, batches: []Batch{x}, done: func([]Result) { x.Memory.Release() }})
}

func (b *pooledBench) lead() {
	b.c.wasSynced(b.logged)
	b.flush()
	for len(b.sent) > 0 {
		b.commit()
		b.flush()
	}
}

var errBrokenLog = errors.New("broken log")

// brokenLog takes nothing.
type brokenLog struct{ *bench }

func (brokenLog) Append([]wal.Record) (uint64, error) { return 0, errBrokenLog }

// Each way that a batch can go ends with all of the memory given back.
func TestMemoryIsGivenBackHoweverABatchEnds(t *testing.T) {
	producer := func(sequence int32) batchtest.Spec { return batchtest.Spec{ProducerID: 9, Sequence: sequence} }
	for name, way := range map[string]func(*pooledBench){
		"committed": func(b *pooledBench) {
			for _, acks := range []Acks{AcksNone, AcksLeader, AcksAll} {
				b.send(acks, testKey, batchtest.Spec{})
			}
			b.lead()
		},
		"refused": func(b *pooledBench) {
			b.send(AcksAll, partlog.Key{Topic: testTopic, Index: 7}, batchtest.Spec{})
		},
		"out of order": func(b *pooledBench) {
			b.send(AcksLeader, testKey, producer(0))
			b.send(AcksLeader, testKey, producer(9))
			b.proofs[0](nil)
			b.lead()
		},
		"a retry": func(b *pooledBench) {
			b.send(AcksAll, testKey, producer(0))
			b.send(AcksAll, testKey, producer(0)) // of a pending one
			b.lead()
			b.send(AcksAll, testKey, producer(0))
		},
		"spilled and read back": func(b *pooledBench) {
			b.c.flusher.maxMemory, b.room = 200, 1
			for range 20 {
				b.send(AcksNone, testKey, batchtest.Spec{})
			}
			if b.c.flusher.buffer.spilled == 0 {
				b.t.Error("nothing was spilled")
			}
			b.lead()
		},
		"the log fails": func(b *pooledBench) {
			b.send(AcksAll, testKey, batchtest.Spec{})
			b.c.wal = brokenLog{b.bench}
			b.send(AcksAll, testKey, batchtest.Spec{})
		},
		"the leadership ends": func(b *pooledBench) {
			b.send(AcksAll, testKey, batchtest.Spec{})
			b.flush()
			b.send(AcksAll, testKey, batchtest.Spec{})
			b.c.fail(journal.ErrFenced)
			b.send(AcksAll, testKey, batchtest.Spec{})
		},
		"closing": func(b *pooledBench) {
			b.send(AcksAll, testKey, batchtest.Spec{})
			b.c.close()
			b.send(AcksAll, testKey, batchtest.Spec{})
			b.lead()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newPooledBench(t)
			way(b)
			if frames, objects := b.frames.InUse(), b.objects.InUse(); frames != 0 || objects != 0 {
				t.Errorf("%d bytes of frames and %d bytes of objects are still held", frames, objects)
			}
		})
	}
}

// A request may have a small batch for the journal, next to large ones for others or
// refused ones. The batch keeps the memory of them all.
func TestMemoryOfWholeRequestsIsBounded(t *testing.T) {
	b := newPooledBench(t)
	b.c.flusher.maxMemory, b.room = 100<<10, 0
	for range 100 {
		frame := b.frames.Get(10 << 10)
		request := request{done: func([]Result) { frame.Release() }}
		for room := frame.Bytes(); len(request.batches) < 2; {
			x := makeBatch(t, testKey, batchtest.Spec{})
			n := copy(room, x.Data)
			x.Data, x.Memory, room = room[:n:n], frame, room[n:]
			request.batches = append(request.batches, x)
		}
		b.c.append(request)
		if n := b.frames.InUse(); n > 120<<10 {
			t.Fatalf("%d bytes of requests are held", n)
		}
	}
	if n := b.c.flusher.buffer.held; n < 100<<10 {
		t.Errorf("batches were spilled with %d bytes of memory held", n)
	}
	b.room = 1
	b.lead()
	if n := b.c.flusher.buffer.held; n != 0 || b.frames.InUse() != 0 {
		t.Errorf("%d bytes of memory count, %d are held", n, b.frames.InUse())
	}
}

// Batches of an older log are copied out of the reader's memory, and given back.
func TestMemoryOfReplayedBatchesIsGivenBack(t *testing.T) {
	b := newPooledBench(t)
	b.send(AcksNone, testKey, batchtest.Spec{})
	b.send(AcksNone, testKey, batchtest.Spec{})
	records := b.records[len(b.records)-2:]
	b.lead()
	var held buffer
	for i := range records {
		x, err := b.c.readRecord(&records[i])
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			b.c.ends.replay(x.key, x.data, &x.header, 4) // behind the two that are committed
		}
		held.add(x, i > 0)
	}
	if b.objects.InUse() != int64(len(records[0].Batch)) {
		t.Errorf("%d bytes are held, the second batch is spilled", b.objects.InUse())
	}
	h := b.Header()
	h.WAL = segment.WALRange{Incarnation: segment.ID{8}, From: 1, To: 2}
	if err := b.c.flusher.propose(h, held.batches, nil); err != nil {
		t.Fatal(err)
	}
	b.commit()
	if b.objects.InUse() != 0 {
		t.Errorf("%d bytes are still held", b.objects.InUse())
	}
}
