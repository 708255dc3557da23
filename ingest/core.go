package ingest

import (
	"fmt"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// writeAhead is the part of a write-ahead log that core needs; *wal.Log has it.
type writeAhead interface {
	Append(recs []wal.Record) (last uint64, err error)
	Sync(lsn uint64)
	Release(lsn uint64)
	// ReadBack calls fn for the synced records from LSN from on, until fn returns
	// an error, which it returns.
	ReadBack(from uint64, fn func(wal.Record) error) error
}

// proposer is the part of a journal that core needs; *journal.Owner has it.
type proposer interface {
	Room() bool
	Header() segment.Header
	History() *journal.History
	Propose(o *journal.Object, bytes segment.Encoded)
	// Prove reports when all that was committed before the call is applied, or why
	// that is not known.
	Prove(onProved func(error))
}

// recent is where the newest objects of the journal stay in memory for readers. Add
// retains the object for as long.
type recent interface {
	Add(seq uint64, object *pooled.Buffer)
}

// ports are the things outside of core that its parts use.
type ports struct {
	state       *partlog.State // committed; only core applies to it
	wal         writeAhead
	journal     proposer
	recent      recent
	pool        *pooled.Pool // of objects, and of batches that are read back
	now         func() time.Time
	newID       func() segment.ID
	incarnation segment.ID // of the write-ahead log
}

// core is the append side of one data journal under one leadership. One goroutine owns
// it, but for ends.next, answers.unsettled and flusher.pending.
//
// Each part decides one thing, and core is the order in which they do. A batch gets its
// place (ends), is logged and buffered (flusher), and waits for its answer (answers). A
// command waits for its entries (commands). Replay comes before all of them.
type core struct {
	*ports
	onApplied  func(*journal.Object) // for every object
	attached   func() []byte         // for checkpoints; may be nil
	carryAfter time.Duration         // how long carriages wait for an object that is written anyway

	epoch     uint32 // 0 while not leading
	accepting bool   // requests: the journal is led, and older logs are dealt with
	closing   bool   // no more requests; accepted batches are flushed
	stopped   bool   // the same while the journal is handed over, which may be taken back
	failed    error  // why the leadership ended
	stalled   bool   // the bucket has not answered for long
	leaving   bool   // the node is to end

	next *journal.End // the journal is to be handed over with it

	ends       appendEnds
	flusher    flusher
	answers    answers
	commands   commands
	replay     replay
	reconciler reconciler
	expirer    expirer
	floor      floorPlan
	paging     paging

	producerPaging partlog.ProducerPaging
	minPaged       int // refs of a page of the index, at least
}

func newCore(opt Options, log writeAhead, p proposer) *core {
	c := &core{
		ports: &ports{
			state: opt.State, wal: log, journal: p, recent: opt.Recent, pool: opt.Pool, now: opt.Now,
			newID: opt.Journal.NewID, incarnation: opt.Journal.Incarnation,
		},
		onApplied: opt.Committed, attached: opt.Attached, carryAfter: opt.CarryAfter,
		ends:    newAppendEnds(opt.State),
		expirer: expirer{after: opt.ProducerExpiry}, producerPaging: partlog.DefaultProducerPaging, minPaged: defaultMinPaged,
	}
	c.reconciler = reconciler{
		ends: &c.ends, journal: opt.Journal.Chain.Journal, placements: opt.Placements, onReconciled: opt.OnReconciled,
		prove: p.Prove, proved: opt.ProvePlacements == nil, moved: true,
	}
	c.flusher = flusher{
		ports: c.ports, answers: &c.answers, buffer: buffer{first: 1}, inFlight: map[uint64]flight{},
		policy: policy{
			interval: opt.FlushInterval, linger: min(flushLinger, opt.FlushInterval),
			flushBytes: opt.FlushBytes, maxMemory: opt.MaxUnflushed,
		},
		puts: newPutBudget(opt.PUTsPerSecond),
	}
	c.replay = replay{ports: c.ports, ends: &c.ends, flusher: &c.flusher, commands: &c.commands, local: map[segment.ID]bool{}}
	return c
}

// lead begins a leadership: the append ends are those of the state, in which
// everything below the leadership's fence is applied.
func (c *core) lead(epoch uint32) {
	c.epoch = epoch
	c.stalled = false // by a fence or a filler: they are committed
	c.flusher.lead()
	c.ends.lead()
}

// leading reports whether the journal is led and nothing has ended that.
func (c *core) leading() bool { return c.epoch != 0 }

// over returns why the leadership takes nothing until its end, if so.
func (c *core) over() error {
	switch {
	case c.failed != nil:
		return c.failed
	case c.closing:
		return ErrClosed
	case !c.accepting:
		return ErrNotLeader
	}
	return nil
}

// asked returns the acks by which a request is answered. A journal that is to be led elsewhere
// must not acknowledge records faster than it flushes them. This node may end before it has
// flushed all, and other nodes have only the bucket.
func (c *core) asked(acks Acks) Acks {
	if (c.leaving || c.next != nil) && acks == AcksLeader {
		return AcksAll
	}
	return acks
}

// refuses returns why nothing is accepted now, if so.
func (c *core) refuses(acks Acks) error {
	switch err := c.over(); {
	case err != nil:
		return err
	case c.stopped:
		return ErrNotLeader
	case c.stalled && acks == AcksAll:
		return ErrUnavailable
	}
	return nil
}

// start begins a command.
func (c *core) start(x command) { c.commands.start(x, c.flusher.addEntry) }

// progress does everything that has become possible or due. It follows every event.
func (c *core) progress() (err error) {
	if !c.leading() {
		return nil
	}
	c.answers.releaseSettled()
	if !c.accepting && !c.empties() {
		if c.accepting, err = c.replay.run(c.epoch); err != nil {
			return err
		}
	}
	if c.accepting && !c.empties() {
		c.reconciler.next(c.start)
	}
	return c.flush(c.empties())
}

// empties reports whether nothing more is taken, and the rest is flushed.
func (c *core) empties() bool { return c.closing || c.stopped }

// placementsMoved: the view of journal 0 has moved on.
func (c *core) placementsMoved() { c.reconciler.moved = true }

// placementsProved: the view of journal 0 is no older than the head of journal 0 was when
// this leadership began.
func (c *core) placementsProved() { c.reconciler.proved, c.reconciler.moved = true, true }

// flush sends objects while one is due and the journal has room. all flushes
// everything in the buffer whether it is due or not.
func (c *core) flush(all bool) error {
	for c.leading() {
		ready, err := c.flusher.ready(all)
		if err != nil || !ready && !c.mustCarry() {
			return err
		}
		if x := c.expirer.due(c.now()); x != nil {
			c.commands.ride(x)
		}
		riders := c.commands.board()
		if !ready && len(riders) == 0 {
			continue // the carriages that were due have nothing to commit any more
		}
		if err := c.flusher.flushOne(riders); err != nil {
			return err
		}
	}
	return nil
}

// wakeAt is when progress has something to do that no event announces; zero: never.
func (c *core) wakeAt() time.Time {
	if !c.leading() || !c.journal.Room() {
		return time.Time{}
	}
	return earlier(c.flusher.due(), c.carryDue())
}

// close accepts no more requests.
func (c *core) close() { c.closing = true }

// finished: closing, and nothing is left to flush.
func (c *core) finished() bool { return c.closing && (!c.leading() || c.flusher.idle()) }

// wasSynced: the write-ahead log is durable up to lsn.
func (c *core) wasSynced(lsn uint64) { c.answers.wasSynced(lsn) }

// apply takes the next valid object of the journal, own or read, into the state.
func (c *core) apply(o *journal.Object, own bool) error {
	h := &o.Footer.Header
	if object := c.flusher.landed(h.Seq); object != nil {
		c.recent.Add(h.Seq, object) // before readers can ask for it
		object.Release()
	}
	if err := c.state.Apply(o.Footer, o.Entries); err != nil {
		return err
	}
	c.onApplied(o)
	if !c.leading() || !own {
		return nil
	}
	c.stalled = false
	c.ends.committed(o.Footer)
	if err := c.applyEntries(o.Entries); err != nil {
		return err
	}
	if w := h.WAL; w.Incarnation == c.incarnation {
		answered := c.answers.wasCommitted(w.To - 1)
		c.flusher.waiting.answered(answered)
		c.wal.Release(w.To - 1)
	}
	return nil
}

// applyEntries lets the append ends and the commands follow committed entries.
func (c *core) applyEntries(entries []segment.Entry) error {
	for _, e := range entries {
		var k partlog.Key
		switch e.Kind {
		case partlog.EntryOpen:
			open, err := partlog.DecodeOpen(e.Payload)
			if err != nil {
				return err
			}
			k = open.Key
		case partlog.EntryReopen:
			reopen, err := partlog.DecodeReopen(e.Payload)
			if err != nil {
				return err
			}
			k = reopen.Key
		default:
			continue
		}
		c.ends.opened(k)
	}
	if len(entries) > 0 {
		c.commands.proceed(c.flusher.addEntry)
	}
	return nil
}

// stall: the bucket has not answered for long. The clients that wait for it get
// ErrUnavailable; their records stay, and may be committed later.
func (c *core) stall() {
	c.stalled = true
	c.flusher.waiting = waiting{}
	c.answers.stall(ErrUnavailable)
}

// noRoom: the write-ahead log has taken nothing for long. The clients that wait for it
// get ErrNoRoom; their records stay in memory, and may be committed later.
func (c *core) noRoom() { c.answers.noRoom(ErrNoRoom) }

// fail ends the leadership. All that waits is answered with an unknown outcome.
func (c *core) fail(err error) {
	if c.failed != nil {
		return
	}
	c.failed = ErrNotLeader
	if err != nil {
		c.failed = fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	c.epoch, c.accepting = 0, false
	c.flusher.drop()
	c.answers.fail(c.failed)
	c.commands.fail(c.failed)
}
