package ingest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/ingest/wal"
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

// proposer is what core needs of a journal; *journal.Owner has it.
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
}

// core is the append side of one data journal under one leadership. It is owned
// by one goroutine, but for ends.next and pending.
type core struct {
	policy
	state       *partlog.State
	wal         writeAhead
	journal     proposer
	recent      recent
	onApplied   func(*journal.Object) // of every object applied
	attached    func() []byte         // for checkpoints; may be nil
	now         func() time.Time
	newID       func() segment.ID
	incarnation segment.ID
	expiry      time.Duration // of idempotent producers

	epoch     uint32 // 0 while not leading
	accepting bool   // requests are taken: leading, and older logs are dealt with
	closing   bool   // no more requests; what was taken is flushed
	failed    error  // why nothing is taken any more
	stalled   bool   // the bucket has not answered for long

	ends      appendEnds
	inFlight  map[uint64]flight // proposed segments, by seq
	pending   atomic.Int64      // bytes of batches that are logged and not known to be in the bucket
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

	commands commands
	floor    floorPlan

	settlement settlement // acks=1 and 0

	index *partlog.Index // of the checkpoint being written, nil if it has none
	page  segment.ID     // the index's object
}

// flight is a proposed segment.
type flight struct {
	data    []byte
	batches int64 // bytes of its batches that count as pending
}

// lead begins a leadership: the append ends are those of the state, in which
// everything below the leadership's fence is applied.
func (c *core) lead(epoch uint32) {
	c.epoch = epoch
	c.stalled = false // by a fence or a filler: they are committed
	c.lastFlush = c.now()
	c.ends.lead()
}

// start begins a command.
func (c *core) start(x command) { c.commands.start(x, c.addEntry) }

func (c *core) addEntry(e segment.Entry) { c.buffer.addEntry(e, c.now()) }

// progress does what has become possible or due. It follows every event.
func (c *core) progress() error {
	if !c.leading() {
		return nil
	}
	c.answerSettlers()
	if !c.accepting && !c.closing {
		if err := c.replayOlder(); err != nil {
			return err
		}
	}
	return c.flush(c.closing)
}

// leading reports whether the journal is led and nothing has ended that.
func (c *core) leading() bool { return c.epoch != 0 }

// wakeAt is when progress has something to do that no event announces; zero: never.
func (c *core) wakeAt() time.Time {
	if !c.leading() || !c.journal.Room() {
		return time.Time{}
	}
	return c.flushAt()
}

// close accepts no more requests.
func (c *core) close() { c.closing = true }

// finished: closing, and nothing is left to flush.
func (c *core) finished() bool {
	return c.closing && (!c.leading() || c.buffer.empty() && len(c.inFlight) == 0)
}

// unflushed is how many bytes are in memory and not known to be in the bucket.
func (c *core) unflushed() int {
	n := c.buffer.bytes
	for _, f := range c.inFlight {
		n += len(f.data)
	}
	return n
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
	c.onApplied(o)
	if !c.leading() || !own {
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
			c.ends.opened(open.Key)
		case partlog.EntryExpireProducers:
			expire, err := partlog.DecodeExpireProducers(e.Payload)
			if err != nil {
				return err
			}
			c.ends.expire(expire.BeforeMs)
		}
	}
	if len(entries) > 0 {
		c.commands.proceed(c.addEntry)
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
	c.epoch, c.accepting = 0, false
	c.failSettlers(c.failed)
	c.onSync.fail(c.failed)
	c.onCommit.fail(c.failed)
	c.commands.fail(c.failed)
}
