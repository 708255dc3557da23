package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
)

// Options give the journal to lead, with its store and log. Fields without a
// default are required.
type Options struct {
	Store   objstore.Store
	State   *partlog.State // nothing applied yet, or the state before Journal.Chain
	Journal journal.Config // Lead is implied
	WAL     wal.Options    // its ids must be those of Journal
	Recent  interface {    // gets each committed object, before it can be asked for
		Add(seq uint64, object *pooled.Buffer)
	}
	Pool *pooled.Pool // of objects; nil: the memory of the garbage collector
	// Placements are the partitions that the journal follows: it opens and
	// seals them by it. It may be left out.
	Placements Placements
	// ProvePlacements returns nil once Placements shows all that was committed in journal
	// 0 before the call. It may be left out if no other node ever led the journal.
	ProvePlacements func(ctx context.Context) error
	// OnReconciled is called with each seq of journal 0 up to which Placements is
	// followed: the entries are committed. It must not block, and may be left out.
	OnReconciled func(seq uint64)
	// Committed is called with every valid object, own or not, after it was applied.
	Committed func(o *journal.Object)
	// Attached goes into each checkpoint next to the state; nil: nothing. It must be
	// quick, and hold nothing that is not committed.
	Attached func() []byte
	// CheckAttached says why no node could start from the bytes that Attached gave; nil:
	// any could.
	CheckAttached  func([]byte) error
	Checkpoints    journal.CheckpointPolicy
	FlushInterval  time.Duration // default 250 ms
	FlushBytes     int           // default 8 MiB
	PUTsPerSecond  float64       // of small flushes, for clients that wait; 0: as many as the store takes
	MaxUnflushed   int           // bytes of memory above which batches are left to the write-ahead log; default 64 MiB
	ProducerExpiry time.Duration // default 24 h
	CarryAfter     time.Duration // how long Carry waits for an object that is written anyway; default 10 min
	Now            func() time.Time
	Log            *slog.Logger

	// OnFull is called when the write-ahead log has accepted nothing for
	// FullPatience, with the reason, and again at intervals. It is called with
	// nil when the log has accepted records for twice as long. It must not
	// block.
	OnFull func(error)
	// OnAside is called at intervals with the number of records in logs set
	// aside that the journal does not have and that were not exported. If there
	// is an error, it kept records from being counted. It must not block.
	OnAside func(records int64, err error)
	// OnCheckpoints is a journal.Checkpointer's OnTrouble; it may be left out.
	OnCheckpoints func(journal.Step, error)
	AsideEvery    time.Duration // default 10 s
	FullPatience  time.Duration // default 5 s
}

// flushLinger is how long the first record after a pause waits for company.
const flushLinger = 3 * time.Millisecond

func (o Options) withDefaults() Options {
	if o.FlushInterval == 0 {
		o.FlushInterval = 250 * time.Millisecond
	}
	if o.FlushBytes == 0 {
		o.FlushBytes = 8 << 20
	}
	if o.MaxUnflushed == 0 {
		o.MaxUnflushed = 64 << 20
	}
	if o.ProducerExpiry == 0 {
		o.ProducerExpiry = 24 * time.Hour
	}
	if o.CarryAfter == 0 {
		o.CarryAfter = carryAfter
	}
	if o.FullPatience == 0 {
		o.FullPatience = 5 * time.Second
	}
	if o.AsideEvery == 0 {
		o.AsideEvery = asideEvery
	}
	if o.OnAside == nil {
		o.OnAside = func(int64, error) {}
	}
	if o.OnReconciled == nil {
		o.OnReconciled = func(uint64) {}
	}
	if o.OnFull == nil {
		o.OnFull = func(error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// owner are the options of the Owner of the journal.
func (o *Options) owner() journal.OwnerOptions {
	cfg := o.Journal
	cfg.Lead = true
	return journal.OwnerOptions{Journal: cfg, Log: o.Log, Checkpoints: &journal.CheckpointerOptions{
		NewID: cfg.NewID, Last: cfg.Chain.Last.Seq, Check: o.checkCheckpoint, Names: restore.Names, Policy: o.Checkpoints, OnTrouble: o.OnCheckpoints,
	}}
}

// Leader leads one data journal, or is on the way to. Its loop owns its core and the
// order of its write-ahead log.
type Leader struct {
	opt     Options
	loop    *journal.Loop[request]
	core    *core
	machine *machine
	wal     *wal.Log
	aside   asideWatch
	closing chan struct{}   // closed by Close: flush, then end
	ctx     context.Context // ends with the Leader
	cancel  context.CancelFunc
	watch   sync.WaitGroup // of Placements
}

// Start reads the older write-ahead logs, opens a new one, and begins to read the
// journal, to fence it and to lead it. It returns before any of that has
// succeeded: see Ready and Done.
func Start(opt Options) (*Leader, error) {
	opt = opt.withDefaults()
	older, err := wal.Scan(opt.WAL)
	if err != nil {
		return nil, err
	}
	log, err := wal.Open(opt.WAL)
	if err != nil {
		return nil, err
	}
	l := &Leader{opt: opt, wal: log, closing: make(chan struct{}), loop: journal.NewLoop[request](opt.Store, opt.owner())}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.machine = newMachine(opt, log, l.loop.Owner())
	l.machine.onAccepting = l.watchAside
	l.core = l.machine.core
	l.core.ends.maxBatch = log.MaxBatch()
	l.core.replay.onAside = l.setAside
	for _, o := range older {
		l.core.replay.add(o, o)
	}
	l.loop.Start(l.machine, journal.Intake[request]{
		Take: l.core.append, Full: func() bool { return l.machine.full() != nil }, Signal: log.Synced(), Close: l.ended,
	})
	if opt.Placements != nil {
		l.watch.Go(l.watchPlacements)
	}
	return l, nil
}

// Ready is closed when the journal is led and requests are taken.
func (l *Leader) Ready() <-chan struct{} { return l.loop.Ready() }

// Done is closed when the Leader has ended; Err is the reason.
func (l *Leader) Done() <-chan struct{} { return l.loop.Done() }

// Err is why the Leader ended, once Done is closed; nil after a Close that had
// time to flush.
func (l *Leader) Err() error { return l.loop.Err() }

// SetAside is how many records lie in logs set aside that the journal does not
// have, until they are exported or deleted, once Ready is closed. They are counted
// in the background.
func (l *Leader) SetAside() int { return int(l.aside.missing.Load()) }

// Pending is how many bytes of batches are in the write-ahead log and not known to
// be in the bucket.
func (l *Leader) Pending() int64 { return l.core.flusher.pending.Load() }

// WALFileBytes is how much disk the write-ahead log takes, whatever is in it.
func (l *Leader) WALFileBytes() int64 { return l.wal.FileBytes() }

// Append hands in batches, in the order in which they shall stand in their
// partitions. It blocks while the write-ahead log can take no more. If ctx ends until
// then the batches are refused with ErrNoRoom, or with ErrUnavailable if the wait had
// another reason. done gets a Result for each batch, once, maybe before Append returns;
// it must not block.
func (l *Leader) Append(ctx context.Context, acks Acks, batches []Batch, done func([]Result)) {
	r := request{acks: acks, batches: batches, done: done}
	select {
	case l.loop.Requests() <- r:
	case <-ctx.Done():
		err := ErrUnavailable
		if l.machine.full() != nil {
			err = ErrNoRoom
		}
		refuse(r, err)
	case <-l.closing:
		refuse(r, ErrClosed)
	case <-l.loop.Done():
		refuse(r, ErrNotLeader)
	}
}

func refuse(r request, err error) {
	results := make([]Result, len(r.batches))
	for i := range results {
		results[i].Err = err
	}
	r.done(results)
}

// ask has the owner of core run a question, and waits for the answer. The error is why
// there is none: that of ctx, or ErrNotLeader.
func ask[A any](ctx context.Context, l *Leader, question func(), answers <-chan A) (answer A, err error) {
	if err := l.loop.Do(ctx, question); errors.Is(err, journal.ErrEnded) {
		return answer, ErrNotLeader
	} else if err != nil {
		return answer, err
	}
	select {
	case answer = <-answers:
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	case <-l.loop.Done():
		return answer, ErrNotLeader
	}
}

// DeleteRecords deletes the records of partitions before offsets, and returns a
// Deleted for each when that is committed. When ctx ends first the outcome is
// ErrUnavailable: unknown. Asking again is safe.
func (l *Leader) DeleteRecords(ctx context.Context, wants []Deletion) []Deleted {
	done := make(chan []Deleted, 1)
	results, err := ask(ctx, l, func() { l.core.deleteRecords(wants, done) }, done)
	switch {
	case err == nil:
		return results
	case !errors.Is(err, ErrNotLeader):
		err = ErrUnavailable
	}
	return slices.Repeat([]Deleted{{LogStart: -1, Err: err}}, len(wants))
}

// Prove returns nil once all that was committed before the call is applied; see
// journal.Driver.
func (l *Leader) Prove(ctx context.Context) error { return l.loop.Prove(ctx) }

// Confirm returns nil if this Leader is known to lead still; see journal.Driver.
func (l *Leader) Confirm(ctx context.Context) error { return l.loop.Confirm(ctx) }

// AppendEnd is the offset the partition's next record would get; false if this
// Leader takes none.
func (l *Leader) AppendEnd(k partlog.Key) (int64, bool) { return l.core.ends.next(k) }

// Close takes no more requests and flushes. It waits until all that was appended is
// committed, or until ctx ends, and stops. Records that are not committed then are in
// the write-ahead log. The error is that of Err, or of ctx.
func (l *Leader) Close(ctx context.Context) error {
	close(l.closing)
	_ = l.loop.Do(ctx, l.core.close) // if not, it has ended, or there is no time left
	select {
	case <-l.loop.Done():
		return l.loop.Err()
	case <-ctx.Done():
		l.loop.End(context.DeadlineExceeded)
		return errors.Join(l.loop.Err(), fmt.Errorf("flush journal %d: %w; acknowledged records are in the write-ahead log", l.opt.Journal.Chain.Journal, ctx.Err()))
	}
}

// ended closes all that the machine stands on.
func (l *Leader) ended() error {
	l.cancel()
	l.watch.Wait()
	l.aside.work.Wait()
	return l.wal.Close()
}

// watchPlacements has the journal follow until the Leader ends.
func (l *Leader) watchPlacements() {
	wake := make(chan struct{}, 1)
	defer l.opt.Placements.Watch(wake)()
	if l.opt.ProvePlacements != nil && !l.provePlacements() {
		return
	}
	for {
		if l.loop.Do(l.ctx, l.core.placementsMoved) != nil {
			return
		}
		select {
		case <-wake:
		case <-l.ctx.Done():
			return
		}
	}
}

// proveAgain is the pause between two attempts to prove Placements.
const proveAgain = time.Second

// provePlacements proves Placements once the journal is led, and reports whether the
// Leader has not ended before.
func (l *Leader) provePlacements() bool {
	select {
	case <-l.Ready():
	case <-l.ctx.Done():
		return false
	}
	for l.opt.ProvePlacements(l.ctx) != nil {
		select {
		case <-time.After(proveAgain):
		case <-l.ctx.Done():
			return false
		}
	}
	return l.loop.Do(l.ctx, l.core.placementsProved) == nil
}

// watchAside begins to count the records that were set aside. All older logs are dealt
// with.
func (l *Leader) watchAside() {
	_, history := l.loop.Owner().Core().Checkpoint()
	l.aside = asideWatch{opt: l.opt.WAL, state: l.opt.State, history: history, report: l.opt.OnAside, now: l.opt.Now, every: l.opt.AsideEvery}
	l.aside.start(l.ctx)
}

// setAside logs, for an operator, records that may not be replayed.
func (l *Leader) setAside(records int, folder string, reason error) {
	l.opt.Log.Error("write-ahead records cannot be replayed and were set aside",
		"journal", l.opt.Journal.Chain.Journal, "records", records, "folder", folder, "reason", reason)
}
