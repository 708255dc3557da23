package ingest

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// request is one Append call.
type request struct {
	acks    Acks
	batches []Batch
	done    func([]Result)
}

// append takes a request: each of its batches is refused, found to be a retry,
// or given offsets, logged and buffered. The answer comes when what was taken is
// as safe as asked.
func (c *core) append(r request) {
	results := make([]Result, len(r.batches))
	if err := c.refuses(r.acks); err != nil {
		for i := range results {
			results[i].Err = err
		}
		r.done(results)
		return
	}
	var until uint64
	var size int
	records := make([]wal.Record, 0, len(r.batches))
	for i := range r.batches {
		b := &r.batches[i]
		switch c.ends.place(b, &results[i]) {
		case batchPlaced:
			size += len(b.Data)
			c.buffer.add(buffered{key: b.Key, data: b.Data, header: b.Header, at: c.now()}, c.unflushed() >= c.maxMemory)
			records = append(records, wal.Record{
				Topic: b.Key.Topic, Index: b.Key.Index, BaseOffset: results[i].BaseOffset,
				Epoch: c.epoch, Batch: b.Data, CRC: knownCRC(b),
			})
		case batchRetryPending:
			until = max(until, c.appended)
		}
	}
	if len(records) > 0 {
		if err := c.log(records); err != nil {
			c.fail(err)
			c.failResults(results, err)
			r.done(results)
			return
		}
		until = c.appended
		if r.acks == AcksAll {
			c.waiting.add(size, c.now())
		}
	}
	if !misplaced(results) {
		c.answer(r, results, until)
		return
	}
	c.journal.Prove(func(err error) {
		if err != nil || !c.leading() {
			doubt(results)
		}
		c.answer(r, results, until)
	})
}

// knownCRC is the CRC of a large batch's bytes, which its own CRC gives; 0 of
// a small one, which the write-ahead log reads anyway.
func knownCRC(b *Batch) uint32 {
	if len(b.Data) < batch.Large {
		return 0
	}
	return batch.UpdateCRC(0, b.Data, b.Header)
}

// misplaced reports whether a result says that a producer's sequence or epoch is
// wrong. Its client gives the sequence up on that, so it must not be said by a leader
// that was deposed and has not noticed: the head is proved first.
func misplaced(results []Result) bool {
	for i := range results {
		if isMisplaced(results[i].Err) {
			return true
		}
	}
	return false
}

func isMisplaced(err error) bool {
	return errors.Is(err, partlog.ErrOutOfOrder) || errors.Is(err, partlog.ErrProducerEpoch) || errors.Is(err, partlog.ErrDuplicateSequence)
}

// doubt takes back what only a leader may say.
func doubt(results []Result) {
	for i := range results {
		if isMisplaced(results[i].Err) {
			results[i].Err = ErrNotLeader
		}
	}
}

// refuses says why nothing is appended now, if so.
func (c *core) refuses(acks Acks) error {
	switch {
	case c.failed != nil:
		return c.failed
	case c.closing:
		return ErrClosed
	case !c.accepting:
		return ErrNotLeader
	case c.stalled && acks == AcksAll:
		return ErrUnavailable
	}
	return nil
}

// log hands records to the write-ahead log, which must number them as the buffer did.
func (c *core) log(records []wal.Record) error {
	last, err := c.wal.Append(records)
	if err != nil {
		return fmt.Errorf("append to write-ahead log: %w", err)
	}
	c.appended += uint64(len(records))
	for i := range records {
		c.pending.Add(int64(len(records[i].Batch)))
	}
	if last != c.appended || last != c.buffer.next()-1 {
		return fmt.Errorf("write-ahead log is at %d, the buffer at %d", last, c.buffer.next()-1)
	}
	if c.buffer.spilled > 0 {
		c.wal.Sync(last) // to be read back
	}
	return nil
}

func (c *core) failResults(results []Result, err error) {
	for i := range results {
		if results[i].Err == nil {
			results[i].Err = err
		}
	}
}

// answer gives the results once everything up to LSN until is safe enough.
func (c *core) answer(r request, results []Result, until uint64) {
	w := waiter{until: until, results: results, done: r.done}
	if r.acks != AcksAll {
		c.promise(until)
	}
	switch {
	case until == 0 || r.acks == AcksNone:
		r.done(results)
	case r.acks == AcksLeader && until > max(c.synced, c.committed):
		c.onSync.add(w)
		c.wal.Sync(until)
	case r.acks == AcksAll && until > c.committed:
		c.onCommit.add(w)
	default:
		r.done(results)
	}
}
