package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// flushAt is when the buffer wants to be flushed; zero if it is empty. A buffer
// that is full, or that a client waits for which asks where the log ends, wants it at
// once. Otherwise its oldest record waits for the
// interval since the last flush to pass, so that a busy journal makes one object
// an interval, and a journal that was idle flushes after a short linger.
func (c *core) flushAt() time.Time {
	if c.buffer.empty() {
		return time.Time{}
	}
	if c.buffer.spilled > 0 {
		return c.spillDue()
	}
	oldest := c.buffer.oldest()
	if c.buffer.bytes >= c.flushBytes || c.settleDue() {
		return oldest
	}
	at := c.lastFlush.Add(c.interval)
	if soonest := oldest.Add(c.linger); at.Before(soonest) {
		at = soonest
	}
	if latest := oldest.Add(c.interval); at.After(latest) {
		at = latest
	}
	if early, ok := c.earlyFlushAt(); ok && early.Before(at) {
		at = early
	}
	if len(c.buffer.entries) > 0 { // somebody waits for a topic, and there are few of these
		if soon := c.buffer.entries[0].at.Add(c.linger); at.After(soon) {
			at = soon
		}
	}
	return at
}

// waiting is what producers that asked for acks=all wait for in the buffer.
type waiting struct {
	bytes int
	last  time.Time // when the last of it came
}

func (w *waiting) add(bytes int, now time.Time) { w.bytes, w.last = w.bytes+bytes, now }

// earlyFlushAt is when a flush need not wait for the interval, because nothing
// is gained by it. A producer has a few requests under way, a Java producer five
// with 16 KiB for each partition, and sends more only when those are answered.
// Once all that write have come to that, the interval would pass without another
// byte, and a producer's throughput would be its window over the interval: 80 KiB
// four times a second. That they have is not said anywhere, but seen: they wait,
// nothing has come from their like for as long as a flush lingers, and no object
// is under way whose commit would let them go on. The last makes objects grow
// with the load, as in any group commit: what comes during a PUT shares the next.
//
// The price is more PUTs than one an interval. It is bounded by the bytes: an
// early flush has earlyBytes at least, so a gigabyte never costs more than
// 1 GB / earlyBytes of them, and producers that write less than that at a time
// share one flush an interval as before.
func (c *core) earlyFlushAt() (time.Time, bool) {
	if c.waiting.bytes < c.earlyBytes || len(c.inFlight) > 0 {
		return time.Time{}, false
	}
	return c.waiting.last.Add(c.linger), true
}

// spillDue: at once, if the front is in memory or can be read back, else when the
// write-ahead log says that it is synced.
func (c *core) spillDue() time.Time {
	switch {
	case len(c.buffer.batches) > 0:
		return c.now()
	case c.synced < c.buffer.first:
		return time.Time{}
	case c.readAgain.After(c.now()):
		return c.readAgain
	}
	return c.now()
}

// readBackPause is how long after the log's files could not be opened to be read
// back, because file descriptors are used up, that is tried again.
const readBackPause = time.Second

// flush sends segments while there is something due and the journal has room.
// all flushes what is buffered whether it is due or not.
func (c *core) flush(all bool) error {
	for c.leading() && c.journal.Room() {
		at := c.flushAt()
		if at.IsZero() || !all && at.After(c.now()) {
			return nil
		}
		if err := c.readBack(); err != nil {
			return err
		}
		if c.buffer.spilled > 0 && len(c.buffer.batches) == 0 && c.readAgain.After(c.now()) {
			return nil
		}
		if err := c.flushOne(); err != nil {
			return err
		}
	}
	return nil
}

// readBack takes spilled batches into memory, as many as one segment needs.
func (c *core) readBack() error {
	if len(c.buffer.batches) > 0 || c.buffer.spilled == 0 || c.synced < c.buffer.first || c.readAgain.After(c.now()) {
		return nil
	}
	err := c.wal.ReadBack(c.buffer.first, func(r wal.Record) error {
		if c.buffer.bytes >= c.flushBytes || c.buffer.spilled == 0 {
			return errStopReading
		}
		if r.LSN != c.buffer.first+uint64(len(c.buffer.batches)) {
			return fmt.Errorf("record %d where %d was expected", r.LSN, c.buffer.first+uint64(len(c.buffer.batches)))
		}
		data := bytes.Clone(r.Batch)
		h, err := batch.Parse(data)
		if err != nil {
			return fmt.Errorf("record %d: %w", r.LSN, err)
		}
		c.buffer.unspill(buffered{key: partlog.Key{Topic: r.Topic, Index: r.Index}, data: data, header: h, at: c.now()})
		return nil
	})
	if wal.NoDescriptors(err) {
		c.readAgain = c.now().Add(readBackPause)
		return nil
	}
	if err != nil && !errors.Is(err, errStopReading) {
		return fmt.Errorf("read back from write-ahead log: %w", err)
	}
	return nil
}

func (c *core) flushOne() error {
	c.expireProducers()
	first := c.buffer.first
	batches := c.buffer.take(c.flushBytes)
	c.waiting.bytes = min(c.waiting.bytes, c.buffer.bytes) // of what is left, who knows
	h := c.journal.Header()
	if n := uint64(len(batches)); n > 0 {
		h.WAL = segment.WALRange{Incarnation: c.incarnation, From: first, To: first + n}
	}
	c.lastFlush = c.now()
	return c.propose(h, batches)
}

// propose builds a segment of batches and of the entries that may go with them, and
// sends it.
func (c *core) propose(h segment.Header, batches []buffered) error {
	h.Object = c.newID()
	h.BuiltMs = c.now().UnixMilli()
	entries := c.buffer.takeEntries(c.commands.board(), c.flushBytes)
	data, footer, err := segment.Build(h, entries, group(batches, c.leaderEpoch))
	if err != nil {
		return fmt.Errorf("build segment %d of journal %d: %w", h.Seq, h.Journal, err)
	}
	o, err := journal.NewObject(footer, entries)
	if err != nil {
		return err
	}
	f := flight{data: data}
	if h.WAL.Incarnation == c.incarnation { // not of an older log
		for i := range batches {
			f.batches += int64(len(batches[i].data))
		}
	}
	c.inFlight[h.Seq] = f
	c.journal.Propose(o, data)
	return nil
}

// leaderEpoch is the epoch patched into a partition's batches: also of one that
// has been sealed since they were appended.
func (c *core) leaderEpoch(k partlog.Key) int32 {
	v, _ := c.state.Lookup(k)
	return int32(c.epoch) + v.EpochBase
}
