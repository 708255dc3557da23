package ingest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// writeAhead is what core needs of a write-ahead log; *wal.Log has it.
type writeAhead interface {
	Append(recs []wal.Record) (last uint64, err error)
	Sync(lsn uint64)
	Release(lsn uint64)
	// ReadBack calls fn for the synced records from LSN from on, until fn returns
	// an error, which it returns.
	ReadBack(from uint64, fn func(wal.Record) error) error
}

// proposer is what core needs of a journal; *journal.Driver has it.
type proposer interface {
	Room() bool
	Header() segment.Header
	History() *journal.History
	Propose(o *journal.Object, data []byte)
	// Prove tells when all that was committed before the call is applied, or why
	// that is not known.
	Prove(tell func(error))
}

// recent is where the newest objects of the journal stay in memory for readers.
type recent interface {
	Add(seq uint64, object []byte)
}

// policy says when the buffer is flushed.
type policy struct {
	interval   time.Duration // a record waits this long at the most
	linger     time.Duration // and this long if the journal was idle for an interval
	flushBytes int           // or until this much is buffered
	earlyBytes int           // or until this much is waited for by producers that send nothing more
	maxMemory  int           // unflushed bytes above which batches are left to the write-ahead log
	maxBatch   int           // bytes of the longest batch that the write-ahead log takes; 0: any
}

// core is the append side of one data journal under one leadership. It is owned
// by one goroutine, but for appendEnd.
type core struct {
	policy
	state       *partlog.State
	wal         writeAhead
	journal     proposer
	recent      recent
	told        func(*journal.Object) // of every object applied
	attached    func() []byte         // for checkpoints; may be nil
	now         func() time.Time
	newID       func() segment.ID
	incarnation segment.ID
	expiry      time.Duration // of idempotent producers

	epoch   uint32 // 0 while not leading
	taking  bool   // requests are taken: leading, and older logs are dealt with
	closing bool   // no more requests; what was taken is flushed
	failed  error  // why nothing is taken any more
	stalled bool   // the bucket has not answered for long

	partsMu sync.RWMutex // guards the map for appendEnd; only the owner writes
	parts   map[partlog.Key]*part

	opening   map[partlog.Key]bool // open entries not yet committed
	inFlight  map[uint64]flight    // proposed segments, by seq
	pending   atomic.Int64         // bytes of batches that are logged and not known to be in the bucket
	replay    replay
	buffer    buffer
	waiting   waiting
	appended  uint64 // LSN of the last batch appended
	committed uint64 // LSN up to which everything is in the bucket
	synced    uint64 // LSN up to which everything is synced
	lastFlush time.Time
	readAgain time.Time // before this the log is not read back
	expired   time.Time // when producers were last expired

	onSync   waiters // acks=1
	onCommit waiters // acks=all
	barriers []barrier

	settlement settlement // acks=1 and 0

	deletions []*deletion // not answered yet

	index *partlog.Index     // of the checkpoint being written, nil if it has none
	page  segment.ID         // the index's object
	floor *journal.FloorPlan // for the next segment
}

// flight is a proposed segment.
type flight struct {
	data    []byte
	batches int64 // bytes of its batches that count as pending
}

// part is the append end of one open partition.
//
// Invariant: next is the partition's committed end plus the records buffered and
// under way.
type part struct {
	next      atomic.Int64
	epoch     int32 // leader epoch patched into batches
	producers partlog.Producers
}

// lead begins a leadership: the append ends are those of the state, in which
// everything below the leadership's fence is applied.
func (c *core) lead(epoch uint32) {
	c.epoch = epoch
	c.stalled = false // by a fence or a filler: they are committed
	c.lastFlush = c.now()
	c.state.Partitions(func(k partlog.Key, v partlog.View) {
		if !v.Sealed {
			c.openPart(k, v)
		}
	})
}

func (c *core) openPart(k partlog.Key, v partlog.View) {
	p := &part{epoch: v.Epoch}
	p.next.Store(v.End)
	c.state.Producers(k, func(producer segment.Producer, usedMs int64) { p.producers.Put(producer, usedMs) })
	c.partsMu.Lock()
	defer c.partsMu.Unlock()
	c.parts[k] = p
}

// appendEnd is the offset the next record of the partition would get.
func (c *core) appendEnd(k partlog.Key) (int64, bool) {
	c.partsMu.RLock()
	defer c.partsMu.RUnlock()
	p := c.parts[k]
	if p == nil {
		return 0, false
	}
	return p.next.Load(), true
}

// progress does what has become possible or due. It follows every event.
func (c *core) progress() error {
	if c.epoch == 0 {
		return nil
	}
	c.answerSettlers()
	if !c.taking && !c.closing {
		if err := c.replayOlder(); err != nil {
			return err
		}
	}
	return c.flush(c.closing)
}

// close takes no more requests.
func (c *core) close() { c.closing = true }

// finished: closing, and nothing is left to flush.
func (c *core) finished() bool {
	return c.closing && (c.epoch == 0 || c.buffer.empty() && len(c.inFlight) == 0)
}

// unflushed is how many bytes are in memory and not known to be in the bucket.
func (c *core) unflushed() int {
	n := c.buffer.bytes
	for _, f := range c.inFlight {
		n += len(f.data)
	}
	return n
}

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
		taken, waitFor := c.place(&r.batches[i], &results[i])
		if taken {
			b := &r.batches[i]
			size += len(b.Data)
			records = append(records, wal.Record{
				Topic: b.Key.Topic, Index: b.Key.Index, BaseOffset: results[i].BaseOffset,
				Epoch: c.epoch, Batch: b.Data, CRC: knownCRC(b),
			})
		}
		until = max(until, waitFor)
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
		if err != nil || c.epoch == 0 {
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
	case !c.taking:
		return ErrNotLeader
	case c.stalled && acks == AcksAll:
		return ErrUnavailable
	}
	return nil
}

// place decides on one batch. taken tells that it has offsets now and must be
// logged; waitFor is an LSN whose safety the answer also depends on.
func (c *core) place(b *Batch, res *Result) (taken bool, waitFor uint64) {
	p := c.parts[b.Key]
	switch {
	case p == nil:
		res.Err = ErrNotLeader
		return false, 0
	case c.maxBatch > 0 && len(b.Data) > c.maxBatch:
		res.Err = fmt.Errorf("%w: %d bytes, the write-ahead log takes %d; raise --wal-max-bytes for more", batch.ErrTooLarge, len(b.Data), c.maxBatch)
		return false, 0
	}
	view, _ := c.state.Lookup(b.Key)
	res.LogStart = view.Start
	verdict, original, err := p.producers.Check(b.Header)
	if err != nil {
		res.Err = err
		return false, 0
	}
	if verdict == partlog.VerdictDuplicate {
		res.BaseOffset = original.BaseOffset
		if original.LastOffset < view.End {
			return false, 0
		}
		return false, c.appended // the original is among what was appended
	}
	base := p.next.Load()
	batch.Patch(b.Data, base, p.epoch)
	p.next.Store(base + int64(b.Header.LastOffsetDelta) + 1)
	p.producers.Add(b.Header, base, c.now().UnixMilli())
	res.BaseOffset = base
	b.Header.BaseOffset, b.Header.LeaderEpoch = base, p.epoch
	c.buffer.add(buffered{key: b.Key, data: b.Data, header: b.Header, at: c.now()}, c.unflushed() >= c.maxMemory)
	return true, 0
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

// wasSynced: the write-ahead log is durable up to lsn.
func (c *core) wasSynced(lsn uint64) {
	c.synced = max(c.synced, lsn)
	c.onSync.release(max(c.synced, c.committed))
}

// apply takes the next valid object of the journal, own or read, into the state.
func (c *core) apply(o *journal.Object, own bool) error {
	h := &o.Footer.Header
	f, ok := c.inFlight[h.Seq]
	if ok {
		c.recent.Add(h.Seq, f.data) // before readers can ask for it
		delete(c.inFlight, h.Seq)
	}
	if err := c.state.Apply(o.Footer, o.Entries); err != nil {
		return err
	}
	c.told(o)
	if c.epoch == 0 || !own {
		return nil
	}
	c.stalled = false
	if err := c.applyEntries(o.Entries); err != nil {
		return err
	}
	if w := h.WAL; w.Incarnation == c.incarnation {
		c.committed = w.To - 1
		c.pending.Add(-f.batches)
		c.onCommit.release(c.committed)
		c.onSync.release(max(c.synced, c.committed))
		c.wal.Release(c.committed)
		c.promise(0)
	}
	return nil
}

// applyEntries follows with the append side what committed entries changed.
func (c *core) applyEntries(entries []segment.Entry) error {
	for _, e := range entries {
		switch e.Kind {
		case partlog.EntryOpen:
			open, err := partlog.DecodeOpen(e.Payload)
			if err != nil {
				return err
			}
			delete(c.opening, open.Key)
			v, _ := c.state.Lookup(open.Key)
			c.openPart(open.Key, v)
		case partlog.EntryExpireProducers:
			expire, err := partlog.DecodeExpireProducers(e.Payload)
			if err != nil {
				return err
			}
			for _, p := range c.parts {
				p.producers.Expire(expire.BeforeMs)
			}
		}
	}
	if len(entries) > 0 {
		c.passBarriers()
		c.passDeletions()
	}
	return nil
}

// stall: the bucket has not answered for long. Those who wait for it are told
// so; their records stay, and may be committed later.
func (c *core) stall() {
	c.stalled = true
	c.onCommit.fail(ErrUnavailable)
	c.failSettlers(ErrUnavailable)
}

// noRoom: the write-ahead log has taken nothing for long. Those who wait for it are
// told so; their records stay in memory, and may be committed later.
func (c *core) noRoom() { c.onSync.fail(ErrNoRoom) }

// fail ends the leadership. What waits has an unknown outcome.
func (c *core) fail(err error) {
	if c.failed != nil {
		return
	}
	c.failed = ErrNotLeader
	if err != nil {
		c.failed = fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	c.epoch, c.taking = 0, false
	c.failSettlers(c.failed)
	c.onSync.fail(c.failed)
	c.onCommit.fail(c.failed)
	for _, b := range c.barriers {
		b.done <- c.failed
	}
	c.barriers = nil
	for _, d := range c.deletions {
		d.fail(c.failed)
	}
	c.deletions = nil
}
