package bucket

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Side is one half of the requests to a bucket: one may work without the other.
type Side string

// The sides.
const (
	Reads  Side = "reads"
	Writes Side = "writes"
)

const (
	// watchPatience is how long a side must have failed, without an answer
	// since, to be a trouble: single requests fail all the time.
	watchPatience = 3 * time.Second
	// shortLimit: a request with a shorter time limit than this may end without
	// an answer although nothing is wrong.
	shortLimit = time.Second
	// watchEvery is how often a failing side is checked.
	watchEvery = 5 * time.Second
	// quietFor is how long a failing side may go without a request before the
	// watch makes one, to find out whether the failure is over.
	quietFor = 20 * time.Second
	// askEvery is how often a bucket without requests is checked, while a
	// caller asks.
	askEvery = 15 * time.Second

	readLimit  = 5 * time.Second
	writeLimit = 15 * time.Second
)

// WatchOptions are the dependencies of a Watch.
type WatchOptions struct {
	// Read and Write send the bucket a request, which is observed as all others
	// are; Write is nil on a node that does not write.
	Read, Write func(ctx context.Context) error
	// OnTrouble is called when a side has failed for some seconds, with the
	// time the first failed request began, and again while the failure lasts.
	// OnAnswer is called when the side answers again. They must not block.
	OnTrouble func(s Side, since time.Time, err error)
	OnAnswer  func(s Side)
	Now       func() time.Time
}

// Watch knows whether a bucket answers, from the requests of the node. While
// one fails, and while a caller asks, it makes a request of its own if there
// are no others. So the watch notices an outage, and its end as well.
type Watch struct {
	opt WatchOptions

	mu    sync.Mutex
	sides map[Side]*side

	asked  chan struct{} // capacity 1
	cancel context.CancelFunc
	done   chan struct{}
}

// side is the state of one side.
type side struct {
	heard    time.Time // when the last request ended, in whatever way
	answered time.Time // when the last answer came
	failing  time.Time // when the first failed request since the last answer began; zero: none
	err      error     // of the last failed request
	raised   bool
}

// NewWatch makes a Watch. Start it once the bucket is open.
func NewWatch(opt WatchOptions) *Watch {
	return &Watch{opt: opt, sides: map[Side]*side{Reads: {}, Writes: {}}, asked: make(chan struct{}, 1), done: make(chan struct{})}
}

// Start begins to watch; the function it returns ends that, and waits.
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
	case objstore.OpDelete, objstore.OpDeleteBatch:
		return // the caller of a delete tries it again
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
	case !conclusive(took, err):
	default:
		if s.failing.IsZero() {
			s.failing = now.Add(-took)
		}
		s.err = err
		w.raise(which, s, now)
	}
}

// answers reports whether the store has done its work.
func answers(err error) bool {
	for _, answer := range []error{objstore.ErrNotFound, objstore.ErrExists, objstore.ErrRange} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return err == nil
}

// conclusive reports whether an error is a fault of the store.
func conclusive(took time.Duration, err error) bool {
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

// Ask makes sure that the knowledge about the bucket is recent soon. It does
// not wait.
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

// look makes the requests that are due. Their outcome is observed.
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

// due returns which requests are due: on a failing side without other requests,
// and reads if a caller asks and no answer came for some time.
func (w *Watch) due(asked bool) (read, write bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, p, now := w.sides[Reads], w.sides[Writes], w.opt.Now()
	read = !r.failing.IsZero() && now.Sub(r.heard) >= watchEvery ||
		asked && now.Sub(r.answered) >= askEvery && now.Sub(p.answered) >= askEvery && now.Sub(r.heard) >= watchEvery
	write = !p.failing.IsZero() && now.Sub(p.heard) >= quietFor
	return read, write
}
