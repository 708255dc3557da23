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
	to      *core // of the leadership that it is for
	acks    Acks
	batches []Batch
	done    func([]Result)
}

// append takes a request: each of its batches is refused, found to be a retry,
// or given offsets, logged and buffered. The answer comes when they are as safe as
// asked.
func (c *core) append(r request) {
	results := make([]Result, len(r.batches))
	r.acks = c.asked(r.acks)
	if err := c.refuses(r.acks); err != nil {
		for i := range results {
			results[i].Err = err
		}
		r.done(results)
		return
	}
	var until uint64
	records := make([]wal.Record, 0, len(r.batches))
	for i := range r.batches {
		b := &r.batches[i]
		switch c.ends.place(b, &results[i]) {
		case batchPlaced:
			c.flusher.add(b)
			records = append(records, wal.Record{
				Topic: b.Key.Topic, Index: b.Key.Index, BaseOffset: results[i].BaseOffset,
				Epoch: c.epoch, Batch: b.Data, Memory: b.Memory, CRC: knownCRC(b),
			})
		case batchRetryPending:
			until = max(until, c.answers.appended)
		}
	}
	if len(records) > 0 {
		if err := c.log(records); err != nil {
			c.fail(err)
			c.failResults(results, err)
			r.done(results)
			return
		}
		until = c.answers.appended
	}
	if !misplaced(results) {
		c.await(r, results, until)
		return
	}
	c.journal.Prove(func(err error) {
		if err != nil || !c.leading() {
			doubt(results)
		}
		c.await(r, results, until)
	})
}

// knownCRC is the CRC of a large batch's bytes, which its own CRC gives; 0 of
// a small one, which the write-ahead log reads anyway.
func knownCRC(b *Batch) uint32 {
	if len(b.Data) < batch.Large {
		return 0
	}
	return batch.UpdateCRC(0, b.Data)
}

// misplaced reports whether a result says that a producer's sequence or epoch is
// wrong. Its client gives the sequence up on that, so a leader that was deposed and has
// not noticed must not say it: the head is proved first.
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

// doubt replaces the errors that only a leader may give.
func doubt(results []Result) {
	for i := range results {
		if isMisplaced(results[i].Err) {
			results[i].Err = ErrNotLeader
		}
	}
}

// log hands records to the write-ahead log.
func (c *core) log(records []wal.Record) error {
	last, err := c.wal.Append(records)
	if err != nil {
		return fmt.Errorf("append to write-ahead log: %w", err)
	}
	if n := c.answers.wasAppended(len(records)); n != last {
		return fmt.Errorf("write-ahead log is at %d, %d records were appended", last, n)
	}
	return c.flusher.logged(records, last)
}

func (c *core) failResults(results []Result, err error) {
	for i := range results {
		if results[i].Err == nil {
			results[i].Err = err
		}
	}
}

// await gives the results once everything up to LSN until is as safe as asked.
func (c *core) await(r request, results []Result, until uint64) {
	if r.acks == AcksAll && until >= c.flusher.buffer.first {
		c.flusher.waiting.await(until, c.now())
	}
	if c.answers.await(r.acks, waiter{until: until, results: results, done: r.done}) {
		c.wal.Sync(until)
	}
	if c.failed != nil { // while the head was proved: nothing will be safe any more
		c.answers.fail(c.failed)
	}
}
