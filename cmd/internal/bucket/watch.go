package bucket

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Side is a half of what is asked of a bucket: one may work without the other.
type Side string

// The sides.
const (
	Reads  Side = "reads"
	Writes Side = "writes"
)

const (
	// watchPatience is how long a side must have failed, without an answer since, to
	// be in trouble: single requests fail all the time.
	watchPatience = 3 * time.Second
	// shortLimit: a request that was given less time than this may end without an
	// answer though nothing is wrong.
	shortLimit = time.Second
	// watchEvery is how often a side that fails is looked at.
	watchEvery = 5 * time.Second
	// quietFor is how long a side that fails may go without a request before one is
	// made to find out whether it is over.
	quietFor = 20 * time.Second
	// askEvery is how often a bucket of which nothing is heard is asked whether it is
	// there, while someone wants to know.
	askEvery = 15 * time.Second

	readLimit  = 5 * time.Second
	writeLimit = 15 * time.Second
)

// WatchOptions is what a Watch needs.
type WatchOptions struct {
	// Read and Write ask the bucket something, by requests that are observed; Write is
	// nil on a node that does not write.
	Read, Write func(ctx context.Context) error
	// OnTrouble is called when a side has failed for some seconds, with the time the
	// first request that failed began, and again while it lasts; OnAnswer when it
	// answers again. They must not block.
	OnTrouble func(s Side, since time.Time, err error)
	OnAnswer  func(s Side)
	Now       func() time.Time
}

// Watch knows whether a bucket answers, from the requests that are made anyway.
// While one fails, and while someone asks, it makes a request of its own if there
// are no others, so that an outage is noticed, and its end as well.
type Watch struct {
	opt WatchOptions

	mu    sync.Mutex
	sides map[Side]*side

	asked  chan struct{} // capacity 1
	cancel context.CancelFunc
	done   chan struct{}
}

// side is what is known of one.
type side struct {
	heard    time.Time // when the last request ended, whatever its end
	answered time.Time // when the last answer came
	failing  time.Time // when the first request began that has failed since; zero: none
	err      error     // of the last that failed
	raised   bool
}

// NewWatch makes a Watch. Start it once the bucket is open.
func NewWatch(opt WatchOptions) *Watch {
	return &Watch{opt: opt, sides: map[Side]*side{Reads: {}, Writes: {}}, asked: make(chan struct{}, 1), done: make(chan struct{})}
}

// Start begins to look; the function it returns ends that, and waits.
func (w *Watch) Start() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	go w.run(ctx)
	return func() error {
		cancel()
		<-w.done
		return nil
	}
}

// Observe notes the end of a request.
func (w *Watch) Observe(op objstore.Op, took time.Duration, err error) {
	which := Reads
	switch op {
	case objstore.OpCreate:
		which = Writes
	case objstore.OpDelete:
		return // what must be deleted is tried again by those who delete
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s, now := w.sides[which], w.opt.Now()
	s.heard = now
	switch {
	case answers(err):
		s.answered, s.failing, s.err = now, time.Time{}, nil
		if s.raised {
			s.raised = false
			w.opt.OnAnswer(which)
		}
	case !telling(took, err):
	default:
		if s.failing.IsZero() {
			s.failing = now.Add(-took)
		}
		s.err = err
		w.raise(which, s, now)
	}
}

// answers reports whether the store has done what it is for.
func answers(err error) bool {
	for _, answer := range []error{objstore.ErrNotFound, objstore.ErrExists, objstore.ErrRange} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return err == nil
}

// telling reports whether an error says something about the store.
func telling(took time.Duration, err error) bool {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, objstore.ErrConflict):
		return false
	case errors.Is(err, context.DeadlineExceeded):
		return took >= shortLimit
	}
	return true
}

func (w *Watch) raise(which Side, s *side, now time.Time) {
	if !s.failing.IsZero() && now.Sub(s.failing) >= watchPatience {
		s.raised = true
		w.opt.OnTrouble(which, s.failing, s.err)
	}
}

// Ask makes sure that what is known of the bucket is not old soon. It does not
// wait.
func (w *Watch) Ask() {
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

func (w *Watch) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		asked := false
		select {
		case <-ticker.C:
		case <-w.asked:
			asked = true
		case <-ctx.Done():
			return
		}
		w.look(ctx, asked)
	}
}

// look makes the requests that are due. What comes of them is observed.
func (w *Watch) look(ctx context.Context, asked bool) {
	read, write := w.due(asked)
	if read {
		limit(ctx, readLimit, w.opt.Read)
	}
	if write && w.opt.Write != nil {
		limit(ctx, writeLimit, w.opt.Write)
	}
}

func limit(ctx context.Context, d time.Duration, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_ = f(ctx) // observed
}

// due says which requests are due: where a side fails and nothing is asked of it,
// and where nothing is known of the bucket for some time.
func (w *Watch) due(asked bool) (read, write bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, p, now := w.sides[Reads], w.sides[Writes], w.opt.Now()
	read = !r.failing.IsZero() && now.Sub(r.heard) >= watchEvery ||
		asked && now.Sub(r.answered) >= askEvery && now.Sub(p.answered) >= askEvery && now.Sub(r.heard) >= watchEvery
	write = !p.failing.IsZero() && now.Sub(p.heard) >= quietFor
	return read, write
}
