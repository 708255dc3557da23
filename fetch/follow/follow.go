// Package follow keeps a node that only reads at the heads of all journals.
//
// It owns the set of followed journals: which ones journal 0 names, when one begins again
// from a newer checkpoint, and which errors are tried again. It promises that readers see
// a journal's state until a newer one has caught up, and that a follower which fell below
// the floor is replaced. Close waits for everything that was started. The package never
// writes, and it never decides the meaning of a journal's objects.
//
// core decides, without goroutines, clocks or I/O; Followers is the thin driver around it.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
)

// Options says which journals to follow, and how. All are needed.
type Options struct {
	Store objstore.Store
	Meta  *metadata.State // nothing applied yet
	// Load returns how a journal is followed from its newest checkpoint, and that
	// checkpoint; nil: from the journal's beginning.
	Load func(ctx context.Context, id uint32) (journal.Config, *journal.Checkpoint, error)
	// Restore returns the state of a checkpoint of a data journal. Like Load, it is
	// patient with a store that is busy: the first error ends a start.
	Restore func(ctx context.Context, c *journal.Checkpoint) (*partlog.State, error)
	Poll    func() time.Duration // the least time between two looks; see journal.NewPace
	Log     *slog.Logger

	// Stays reports whether no second try mends an error.
	Stays func(error) bool
	// OnApplied is called for each object that was applied, on several goroutines.
	OnApplied func(*journal.Object)
	// OnMetadata is called once, when journal 0 has caught up.
	OnMetadata func()
	// OnShown is called when a data journal has caught up: readers are to use it in
	// place of the Journal before. It must not block.
	OnShown func(id uint32, j Journal)
	// OnFailed is called if the node cannot go on, after Start has returned.
	OnFailed func(error)
}

// Journal is a followed data journal.
type Journal struct {
	State *partlog.State
	Head  *journal.Follower
	Pace  *journal.Pace
}

const (
	// growth is after how many objects it is worth to begin a journal again from a newer
	// checkpoint. A leader's state lets go of refs that its index pages hold; a follower
	// writes no pages, and gets rid of its memory this way.
	growth = 4096
	// tryPause is the time between two tries.
	tryPause = 200 * time.Millisecond
)

// Followers follow all journals.
type Followers struct {
	opt    Options
	core   *core
	runs   map[uint64]*run // by attempt; the owner's
	caught bool            // OnMetadata was called; the owner's
	first  chan error      // capacity 1: the answer of Start

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // the owner, loads, pauses and waits for followers
	wake   chan struct{}  // capacity 1

	mu     sync.Mutex
	events []func()                     // guarded by mu: waiting for their turn
	shown  map[uint32]*journal.Follower // guarded by mu
	paces  map[uint32]*journal.Pace     // guarded by mu: of each journal, whichever attempt follows it
}

// run is one attempt.
type run struct {
	cfg        journal.Config
	checkpoint *journal.Checkpoint
	state      *partlog.State    // nil of journal 0
	follower   *journal.Follower // nil until it catches up
}

// New follows nothing yet.
func New(opt Options) *Followers {
	f := &Followers{
		opt: opt, runs: map[uint64]*run{}, first: make(chan error, 1), wake: make(chan struct{}, 1),
		shown: map[uint32]*journal.Follower{}, paces: map[uint32]*journal.Pace{},
	}
	f.core = newCore(f, opt.Stays)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Start returns when everything that is in the journals now was applied.
func (f *Followers) Start(ctx context.Context) error {
	f.work.Go(f.run)
	select {
	case err := <-f.first:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends everything that was started, and waits. It may be called at any moment, once.
func (f *Followers) Close() {
	f.cancel()
	f.work.Wait()
}

// Poke takes a hint that a journal has more to read.
func (f *Followers) Poke(id uint32) {
	f.mu.Lock()
	follower := f.shown[id]
	f.mu.Unlock()
	if follower != nil {
		follower.Poke()
	}
}

// errNotShown is a journal that is named and has not caught up yet.
var errNotShown = errors.New("the journal is still being read")

// Prove returns nil when the metadata, and all journals that it names, have applied all
// objects that were committed before the call. After an error a later call may succeed.
func (f *Followers) Prove(ctx context.Context) error {
	if err := f.proveOne(ctx, 0); err != nil {
		return err
	}
	for _, id := range f.opt.Meta.Journals() {
		if err := f.proveOne(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// ProveMetadata is Prove of the metadata alone.
func (f *Followers) ProveMetadata(ctx context.Context) error { return f.proveOne(ctx, 0) }

func (f *Followers) proveOne(ctx context.Context, id uint32) error {
	f.mu.Lock()
	follower := f.shown[id]
	f.mu.Unlock()
	if follower == nil {
		return fmt.Errorf("journal %d: %w", id, errNotShown)
	}
	if err := follower.Prove(ctx); err != nil {
		return fmt.Errorf("journal %d: %w", id, err)
	}
	return nil
}

// run owns core.
func (f *Followers) run() {
	changed := make(chan struct{}, 1)
	unwatch := f.opt.Meta.Watch(changed)
	defer unwatch()
	defer func() {
		for _, r := range f.runs {
			if r.follower != nil {
				r.follower.Close()
			}
		}
	}()
	f.core.start()
	for {
		select {
		case <-f.wake:
			for _, ev := range f.take() {
				ev()
			}
		case <-changed:
			f.core.named(f.opt.Meta.Journals())
		case <-f.ctx.Done():
			return
		}
	}
}

// post gives an event its turn. It never blocks: a follower posts while it is closed.
func (f *Followers) post(ev func()) {
	f.mu.Lock()
	f.events = append(f.events, ev)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Followers) take() []func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

// pace is that of a journal.
func (f *Followers) pace(id uint32) *journal.Pace {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paces[id] == nil {
		f.paces[id] = journal.NewPace(f.opt.Poll)
	}
	return f.paces[id]
}

// load implements world.
func (f *Followers) load(id uint32, attempt uint64) {
	f.runs[attempt] = &run{}
	f.work.Go(func() {
		r, err := f.prepare(id)
		f.post(func() {
			switch {
			case f.ctx.Err() != nil: // which may be the error
				return
			case err != nil:
				f.core.loaded(id, 0, err)
				return
			}
			f.runs[attempt] = r
			from := uint64(0)
			if r.checkpoint != nil {
				from = r.checkpoint.Chain.Last.Seq
			}
			f.core.loaded(id, from, nil)
		})
	})
}

func (f *Followers) prepare(id uint32) (r *run, err error) {
	r = &run{}
	if r.cfg, r.checkpoint, err = f.opt.Load(f.ctx, id); err != nil || id == 0 {
		return r, err
	}
	r.state = partlog.New(id)
	if r.checkpoint != nil {
		r.state, err = f.opt.Restore(f.ctx, r.checkpoint)
	}
	return r, err
}

// catchUp implements world.
func (f *Followers) catchUp(id uint32, attempt uint64) {
	r := f.runs[attempt]
	if id == 0 && r.checkpoint != nil { // the one state of journal 0 moves on
		if err := f.opt.Meta.Restore(r.checkpoint.State); err != nil {
			f.post(func() { f.core.ended(id, attempt, err) })
			return
		}
	}
	r.checkpoint = nil // its bytes are of no more use
	r.follower = journal.Follow(f.opt.Store, r.cfg, f.applier(id, r), f.pace(id), f.opt.Log)
	f.work.Go(func() {
		select {
		case <-r.follower.Ready():
			f.post(func() { f.core.caughtUp(id) })
			<-r.follower.Done()
		case <-r.follower.Done():
		}
		if err := r.follower.Err(); err != nil {
			f.post(func() { f.core.ended(id, attempt, fmt.Errorf("journal %d: %w", id, err)) })
		}
	})
}

// applier applies the objects of one attempt, on the follower's goroutine.
func (f *Followers) applier(id uint32, r *run) func(*journal.Object) error {
	apply := f.opt.Meta.Apply
	if r.state != nil {
		apply = r.state.Apply
	}
	applied := 0
	return func(o *journal.Object) error {
		if applied++; applied%growth == 0 {
			f.post(func() { f.core.grew(id) })
		}
		if err := apply(o.Footer, o.Entries); err != nil {
			return err
		}
		f.opt.OnApplied(o)
		return nil
	}
}

// show implements world.
func (f *Followers) show(id uint32, attempt uint64) {
	r := f.runs[attempt]
	f.mu.Lock()
	f.shown[id] = r.follower
	f.mu.Unlock()
	if id != 0 {
		f.opt.OnShown(id, Journal{State: r.state, Head: r.follower, Pace: f.pace(id)})
		return
	}
	if !f.caught {
		f.caught = true
		f.opt.OnMetadata()
	}
	f.post(func() { f.core.named(f.opt.Meta.Journals()) })
}

// drop implements world.
func (f *Followers) drop(_ uint32, attempt uint64) {
	if r := f.runs[attempt]; r.follower != nil {
		r.follower.Close()
	}
	delete(f.runs, attempt)
}

// pause implements world.
func (f *Followers) pause(id uint32) {
	f.work.Go(func() {
		select {
		case <-time.After(tryPause):
			f.post(func() { f.core.due(id) })
		case <-f.ctx.Done():
		}
	})
}

// again implements world.
func (f *Followers) again(id uint32, err error) {
	f.opt.Log.Warn("fell below the floor, starting from a newer checkpoint", "journal", id, "error", err)
}

// ready implements world.
func (f *Followers) ready() { f.first <- nil }

// fail implements world.
func (f *Followers) fail(_ uint32, err error) {
	if f.core.started {
		f.opt.OnFailed(err)
		return
	}
	select {
	case f.first <- err:
	default: // one is enough
	}
}
