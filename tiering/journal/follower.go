package journal

import (
	"context"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Follower applies a journal's objects as they are committed, on a goroutine of
// its own. It looks when it is poked, when a proof is asked for, and as a
// backstop whenever its Pace says so.
type Follower struct {
	driver *Live
	apply  func(*Object) error
	pace   *Pace
	stop   chan struct{}
	ready  chan struct{} // closed when the end of the log was first reached
	done   chan struct{} // closed when nothing more is followed
	err    error         // why, once done is closed; nil after Close
}

// Follow starts. cfg needs a Chain; apply is called on the Follower's goroutine.
func Follow(store objstore.Store, cfg Config, apply func(*Object) error, pace *Pace, log *slog.Logger) *Follower {
	cfg.Lead = false
	f := &Follower{
		apply: apply, pace: pace,
		stop: make(chan struct{}), ready: make(chan struct{}), done: make(chan struct{}),
	}
	f.driver = NewLive(store, cfg, Hooks{Apply: f.applied, AtHead: f.atHead, Ended: f.ended}, log)
	go f.run()
	return f
}

// Ready is closed when all that the journal held at the start has been applied.
func (f *Follower) Ready() <-chan struct{} { return f.ready }

// Done is closed when following has ended; Err tells why.
func (f *Follower) Done() <-chan struct{} { return f.done }

// Err is why following ended, once Done is closed; nil if by Close.
func (f *Follower) Err() error { return f.err }

// Poke makes it look for more now.
func (f *Follower) Poke() { f.driver.Poke() }

// Prove is Driver.Prove.
func (f *Follower) Prove(ctx context.Context) error { return f.driver.Prove(ctx) }

// Close stops following and waits.
func (f *Follower) Close() {
	close(f.stop)
	<-f.done
}

func (f *Follower) run() {
	defer close(f.done)
	defer f.driver.Close()
	f.driver.Start()
	f.pace.Moved(time.Now())
	f.pace.Looked(time.Now())
	timer := time.NewTimer(time.Until(f.pace.Due()))
	defer timer.Stop()
	for f.err == nil {
		select {
		case ev := <-f.driver.Events():
			f.driver.Handle(ev)
		case <-timer.C:
		case <-f.pace.changed:
		case <-f.stop:
			return
		}
		if now := time.Now(); !f.pace.Due().After(now) {
			f.pace.Looked(now)
			f.driver.Handle(Poke{})
		}
		timer.Reset(time.Until(f.pace.Due()))
	}
}

func (f *Follower) applied(o *Object, _ bool) error {
	f.pace.Moved(time.Now())
	return f.apply(o)
}

func (f *Follower) atHead() {
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

func (f *Follower) ended(err error) { f.err = err }
