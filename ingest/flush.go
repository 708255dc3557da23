package ingest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// flusher brings placed batches and proposed entries to the journal, as objects.
//
// Invariant: a logged batch is in the buffer, in an object in flight, or committed.
type flusher struct {
	*ports
	policy
	answers *answers // of the batches

	buffer   buffer
	waiting  waiting
	puts     putBudget
	inFlight map[uint64]flight // proposed objects, by seq
	pending  atomic.Int64      // bytes of batches that are logged and not known to be in the bucket; any goroutine reads it

	lastFlush time.Time
	readAgain time.Time // before this the log is not read back
}

// flight is a proposed object. It holds a reference to the object's bytes.
type flight struct {
	object  *pooled.Buffer
	batches int64 // bytes of its batches that count as pending
}

// lead begins a leadership, as if a flush had just been.
func (f *flusher) lead() {
	f.lastFlush = f.now()
	f.waiting = waiting{}
	f.puts.fill(f.lastFlush)
}

// add buffers a batch that has its place, in memory or in the write-ahead log alone.
func (f *flusher) add(b *Batch) {
	x := buffered{key: b.Key, data: b.Data, memory: b.Memory.Retain(), header: b.Header, at: f.now()}
	f.buffer.add(x, f.unflushed() >= f.maxMemory)
}

// logged notes that the batches added last are in the write-ahead log up to LSN last,
// which must number them as the buffer did.
func (f *flusher) logged(records []wal.Record, last uint64) error {
	for i := range records {
		f.pending.Add(int64(len(records[i].Batch)))
	}
	if last != f.buffer.next()-1 {
		return fmt.Errorf("write-ahead log is at %d, the buffer at %d", last, f.buffer.next()-1)
	}
	if f.buffer.spilled > 0 {
		f.wal.Sync(last) // to be read back
	}
	return nil
}

// addEntry buffers an entry behind the batches and entries added before it.
func (f *flusher) addEntry(e segment.Entry) { f.buffer.addEntry(e, f.now()) }

// idle reports whether nothing is left to flush.
func (f *flusher) idle() bool { return f.buffer.empty() && len(f.inFlight) == 0 }

// unflushed is how many bytes are in memory and not known to be in the bucket.
func (f *flusher) unflushed() int {
	n := f.buffer.held
	for _, o := range f.inFlight {
		n += len(o.object.Bytes())
	}
	return n
}

// underWay is how many bytes of batches the objects in flight have.
func (f *flusher) underWay() (n int64) {
	for _, o := range f.inFlight {
		n += o.batches
	}
	return n
}

// ready reports whether an object can be built now: the journal has room, and the
// front of the buffer is in memory and due. all takes it whether it is due or not.
func (f *flusher) ready(all bool) (bool, error) {
	if !f.journal.Room() {
		return false, nil
	}
	if at := f.due(); at.IsZero() || !all && at.After(f.now()) {
		return false, nil
	}
	if err := f.readBack(); err != nil {
		return false, err
	}
	unread := f.buffer.spilled > 0 && len(f.buffer.batches) == 0 && f.readAgain.After(f.now())
	return !unread, nil
}

// readBackPause is how long after the log's files could not be opened to be read
// back, because file descriptors are used up, that is tried again.
const readBackPause = time.Second

var errStopReading = errors.New("enough read")

// readBack takes spilled batches into memory, as many as one object needs.
func (f *flusher) readBack() error {
	b := &f.buffer
	if len(b.batches) > 0 || b.spilled == 0 || !f.answers.isSynced(b.first) || f.readAgain.After(f.now()) {
		return nil
	}
	err := f.wal.ReadBack(b.first, func(r wal.Record) error {
		if b.bytes >= f.flushBytes || b.spilled == 0 {
			return errStopReading
		}
		if r.LSN != b.first+uint64(len(b.batches)) {
			return fmt.Errorf("record %d where %d was expected", r.LSN, b.first+uint64(len(b.batches)))
		}
		x, err := f.readRecord(&r)
		if err != nil {
			return fmt.Errorf("record %d: %w", r.LSN, err)
		}
		b.unspill(x)
		return nil
	})
	if wal.NoDescriptors(err) {
		f.readAgain = f.now().Add(readBackPause)
		return nil
	}
	if err != nil && !errors.Is(err, errStopReading) {
		return fmt.Errorf("read back from write-ahead log: %w", err)
	}
	return nil
}

// readRecord copies a record's batch out of the memory of a reader.
func (p *ports) readRecord(r *wal.Record) (buffered, error) {
	h, err := batch.Parse(r.Batch)
	if err != nil {
		return buffered{}, err
	}
	memory := p.pool.Get(len(r.Batch))
	copy(memory.Bytes(), r.Batch)
	return buffered{key: partlog.Key{Topic: r.Topic, Index: r.Index}, data: memory.Bytes(), memory: memory, header: h, at: p.now()}, nil
}

// flushOne proposes one object from the front of the buffer, with the riders.
func (f *flusher) flushOne(riders []segment.Entry) error {
	first := f.buffer.first
	if f.lastFlush = f.now(); f.buffer.bytes < cheapBytes {
		f.puts.spend(f.lastFlush)
	}
	batches := f.buffer.take(f.flushBytes)
	f.waiting.flushed(f.buffer.first)
	h := f.journal.Header()
	if n := uint64(len(batches)); n > 0 {
		h.WAL = segment.WALRange{Incarnation: f.incarnation, From: first, To: first + n}
	}
	return f.propose(h, batches, riders)
}

// propose builds an object of batches, riders and the buffered entries that may go
// with them, and sends it. The memory of the batches is not read any more afterwards.
func (f *flusher) propose(h segment.Header, batches []buffered, riders []segment.Entry) error {
	defer release(batches)
	h.Object = f.newID()
	h.BuiltMs = f.now().UnixMilli()
	entries := f.buffer.takeEntries(riders, f.flushBytes)
	bytes, footer, err := segment.Encode(f.pool, h, entries, group(batches, func(k partlog.Key) int32 { return f.leaderEpoch(h.Epoch, k) }))
	if err != nil {
		return fmt.Errorf("build segment %d of journal %d: %w", h.Seq, h.Journal, err)
	}
	o, err := journal.NewObject(footer, entries)
	if err != nil {
		bytes.Memory.Release()
		return err
	}
	flight := flight{object: bytes.Memory.Retain()}
	if h.WAL.Incarnation == f.incarnation { // not of an older log
		for i := range batches {
			flight.batches += int64(len(batches[i].data))
		}
	}
	f.inFlight[h.Seq] = flight
	f.journal.Propose(o, bytes)
	return nil
}

// release ends the references of batches, which are not used any more.
func release(batches []buffered) {
	for i := range batches {
		batches[i].memory.Release()
		batches[i] = buffered{}
	}
}

// drop gives the memory of everything back, at the end of the leadership.
func (f *flusher) drop() {
	release(f.buffer.batches)
	f.buffer.batches = nil
	for _, o := range f.inFlight {
		o.object.Release()
	}
	clear(f.inFlight)
}

// leaderEpoch is a partition's leader epoch in an epoch of the journal: also of a
// partition that has been sealed since its batches were appended.
func (f *flusher) leaderEpoch(epoch uint32, k partlog.Key) int32 {
	v, _ := f.state.Lookup(k)
	return int32(epoch) + v.EpochBase
}

// landed removes the object at seq from those in flight: it is committed. It returns
// the object's bytes with the reference to them, nil if none was in flight.
func (f *flusher) landed(seq uint64) *pooled.Buffer {
	o := f.inFlight[seq]
	delete(f.inFlight, seq)
	f.pending.Add(-o.batches)
	return o.object
}
