package journal

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Live is a Driver with the runner of production. Its owner receives from Events in
// its own loop and passes each to Handle. Prove, Confirm and Poke may be called from
// any goroutine. Close ends all requests and waits for them.
type Live struct {
	*Driver
	runner    *runner
	closeOnce sync.Once
	closed    chan struct{}
}

// question carries a caller of Prove or Confirm to the owner's goroutine.
type question struct {
	ask   func(answer func(error))
	reply chan error
}

func (question) isEvent() {}

// NewLive prepares to follow, and if cfg says so to lead, a journal of store.
func NewLive(store objstore.Store, cfg Config, hooks Hooks, log *slog.Logger) *Live {
	r := newRunner(store, cfg.Chain.Journal)
	return &Live{Driver: NewDriver(cfg, hooks, r, time.Now, log), runner: r, closed: make(chan struct{})}
}

// Events is what the owner passes to Handle.
func (l *Live) Events() <-chan Event { return l.runner.events }

// Handle takes one event.
func (l *Live) Handle(ev Event) {
	if q, is := ev.(question); is {
		q.ask(func(err error) { q.reply <- err })
		return
	}
	l.Driver.Handle(ev)
}

// Poke makes a follower look for more soon. It is a hint, dropped where many
// events wait already.
func (l *Live) Poke() {
	select {
	case l.runner.events <- Poke{}:
	default:
	}
}

// Prove is Driver.Prove; it waits for the answer.
func (l *Live) Prove(ctx context.Context) error { return l.ask(ctx, l.Driver.Prove) }

// Confirm is Driver.Confirm; it waits for the answer.
func (l *Live) Confirm(ctx context.Context) error {
	if l.Holds() {
		return nil
	}
	return l.ask(ctx, l.Driver.Confirm)
}

func (l *Live) ask(ctx context.Context, ask func(func(error))) error {
	q := question{ask: ask, reply: make(chan error, 1)}
	select {
	case l.runner.events <- q:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return ErrEnded
	}
	select {
	case err := <-q.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return ErrEnded
	}
}

// Close ends all requests, whatever their outcome, and waits for them.
func (l *Live) Close() {
	l.closeOnce.Do(func() {
		close(l.closed)
		l.runner.close()
	})
}
