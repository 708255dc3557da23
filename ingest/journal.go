package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	pooled "github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// Options give the journal, with its store and log. Fields without a default are required.
type Options struct {
	Store   objstore.Store
	State   *partlog.State // nothing applied yet, or the state before Journal.Chain
	Journal journal.Config // but for Lead and Incarnation
	WAL     wal.Options    // its ids must be those of Journal; but for Incarnation
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
	// Committed is called with every valid object, own or not, that is applied while the
	// journal is led, or taken over; Followed with all others. Followed may be left out.
	Committed, Followed func(o *journal.Object)
	// Pace says when the journal is looked at while it is followed.
	Pace *journal.Pace
	// OnLost is called after the end of each leadership, and of each way to one, with the
	// reason; nil: it was given up. The journal ends with the error that it returns, and is
	// followed on if it returns nil. It must not block, nor lead again before it returns.
	OnLost func(err error) error
	// OnEnd is called with each end entry of another leadership that is applied, and with
	// the epoch of that. A later fence makes it void. It must not block, and may be left out.
	OnEnd func(epoch uint32, e journal.End)
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
	if o.Followed == nil {
		o.Followed = func(*journal.Object) {}
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
	cfg.Lead = false
	return journal.OwnerOptions{Journal: cfg, Log: o.Log, Checkpoints: &journal.CheckpointerOptions{
		NewID: cfg.NewID, Last: cfg.Chain.Last.Seq, Check: o.checkCheckpoint, Names: restore.Names, Policy: o.Checkpoints, OnTrouble: o.OnCheckpoints,
	}}
}

// Journal is one data journal on this node. It is followed, and led at times, on one state.
// Its loop owns all of that.
type Journal struct {
	opt  Options
	loop *journal.Loop[request]
	life *life

	mu    sync.Mutex
	begun bool    // guarded by mu: the loop runs
	last  *Leader // guarded by mu: of the last leadership
}

// Open prepares a journal. Nothing is read before it is followed, or led for the first time.
func Open(opt Options) *Journal {
	opt = opt.withDefaults()
	j := &Journal{opt: opt, loop: journal.NewLoop[request](opt.Store, opt.owner())}
	j.life = newLife(opt, j.loop.Owner())
	return j
}

// Follow begins to read the journal, and applies all that is committed until Lead is called.
func (j *Journal) Follow() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begin()
}

// begin starts the loop, unless that was done. mu is held.
func (j *Journal) begin() {
	if !j.begun {
		j.begun = true
		j.loop.Start(j.life, journal.Intake[request]{Take: take, Full: j.life.full, Signal: j.life.signal})
	}
}

// AtHead is closed when the state has all that the journal held at the start: a follower
// has proved its head, or the journal is led and takes requests.
func (j *Journal) AtHead() <-chan struct{} { return j.loop.Ready() }

// Term is one leadership of a journal.
type Term struct {
	Incarnation segment.ID   // its name, which was never used before
	Own         []segment.ID // names of earlier leaderships of this data folder, as far as they are known
}

// errLed is a journal that is led already, or is being taken over.
var errLed = errors.New("the journal is led already")

// Lead reads the older write-ahead logs, opens a new one, and begins to read to the end of
// the journal, to fence it and to lead it. It returns before any of that has succeeded, but
// for the logs: see Leader.Ready and Leader.Done.
func (j *Journal) Lead(t Term) (*Leader, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last != nil {
		if !isClosed(j.last.done) {
			return nil, fmt.Errorf("%w: journal %d", errLed, j.opt.Journal.Chain.Journal)
		}
		<-j.last.closed // or its log would not be found whole
	}
	opt := j.opt
	opt.Journal.Incarnation, opt.WAL.Incarnation = t.Incarnation, t.Incarnation
	older, err := wal.Scan(opt.WAL)
	if err != nil {
		return nil, err
	}
	log, err := wal.Open(opt.WAL)
	if err != nil {
		return nil, err
	}
	l := newLeader(j, opt, log, t, older)
	j.last = l
	if !j.begun {
		j.life.lead(l.machine, t.Incarnation)
		j.begin()
		return l, nil
	}
	if err := j.loop.Do(l.ctx, func() { j.life.lead(l.machine, t.Incarnation) }); err != nil {
		l.end(err)
	}
	return l, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// take hands a request to the leadership that it was sent to, which may be over.
func take(r request) { r.to.append(r) }

// Done is closed when nothing more happens; Err is the reason.
func (j *Journal) Done() <-chan struct{} { return j.loop.Done() }

// Err is why the journal ended, once Done is closed; nil after Close.
func (j *Journal) Err() error { return j.loop.Err() }

// Poke has a journal that is followed looked at soon.
func (j *Journal) Poke() { j.loop.Poke() }

// Close ends everything, and waits. Leader.Close comes first, if acknowledged records are to
// be flushed.
func (j *Journal) Close() {
	j.mu.Lock()
	begun, last := j.begun, j.last
	j.mu.Unlock()
	if begun {
		j.loop.Close()
	}
	if last != nil {
		<-last.closed
	}
}

// Pulse is how far the journal has come; see journal.Loop. It must be followed or led.
func (j *Journal) Pulse(ctx context.Context) (journal.Pulse, error) {
	return j.loop.Pulse(ctx, j.life.Successor)
}
