package journal

import (
	"context"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Intake is the way by which requests of type R get to a Machine in a Loop, and the
// ends that the Loop ties up for it. All its functions run on the owner's goroutine,
// and all fields may be left out.
type Intake[R any] struct {
	// Take gives the Machine a request. Those that wait already are taken together,
	// before the Machine progresses.
	Take func(R)
	// Full reports whether requests must wait.
	Full func() bool
	// Signal returns the channel that lets the Machine progress: something it depends on
	// has changed. It is asked before each wait, as each leadership may have its own.
	Signal func() <-chan struct{}
	// Close is called when nothing more reaches the Machine. Its error is that of the
	// Loop, if that has none.
	Close func() error
}

// Loop is an Owner on a goroutine of its own, against a bucket. Requests of type R
// reach its Machine one after the other, and wait while its Intake is full.
type Loop[R any] struct {
	owner    *Owner
	runner   *runner
	intake   Intake[R]
	requests chan R

	stopOnce sync.Once
	stop     chan struct{}
	reason   error         // of the stop
	ready    chan struct{} // closed when the Machine was first ready
	done     chan struct{} // closed when nothing more happens
	err      error         // read after done
}

// NewLoop prepares to follow, and if opt.Journal says so to lead, a journal of store.
// A Machine gets the Owner before Start.
func NewLoop[R any](store objstore.Store, opt OwnerOptions) *Loop[R] {
	r := newRunner(store, opt.Journal.Chain.Journal)
	return &Loop[R]{
		owner: NewOwner(opt, r), runner: r, requests: make(chan R),
		stop: make(chan struct{}), ready: make(chan struct{}), done: make(chan struct{}),
	}
}

// Owner is the Owner that the Loop runs. After Start it belongs to the owner's goroutine.
func (l *Loop[R]) Owner() *Owner { return l.owner }

// Start begins. Close must follow.
func (l *Loop[R]) Start(m Machine, in Intake[R]) {
	l.intake = in
	go l.run(m)
}

// Requests is where requests of the Intake are sent. A sender must stop at Done.
func (l *Loop[R]) Requests() chan<- R { return l.requests }

// Ready is closed when the Machine is ready for the first time.
func (l *Loop[R]) Ready() <-chan struct{} { return l.ready }

// Done is closed when the Loop has ended; Err is the reason.
func (l *Loop[R]) Done() <-chan struct{} { return l.done }

// Err is the reason for the end, once Done is closed; nil if that was asked for.
func (l *Loop[R]) Err() error { return l.err }

// Do has f run on the owner's goroutine, as an event of its own. The error is why it
// is not run: that of ctx, or ErrEnded. If the Loop ends at the same moment f may not
// run without an error, so an answer of f is to be awaited together with Done.
func (l *Loop[R]) Do(ctx context.Context, f func()) error {
	select {
	case l.runner.events <- call(f):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return ErrEnded
	}
}

// Poke makes a follower look for more soon. It is a hint, dropped where many
// events wait already.
func (l *Loop[R]) Poke() {
	select {
	case l.runner.events <- Poke{}:
	default:
	}
}

// Prove is Driver.Prove; it waits for the answer.
func (l *Loop[R]) Prove(ctx context.Context) error { return l.Ask(ctx, l.owner.Prove) }

// Confirm is Driver.Confirm; it waits for the answer.
func (l *Loop[R]) Confirm(ctx context.Context) error {
	if l.owner.Holds() {
		return nil
	}
	return l.Ask(ctx, l.owner.Confirm)
}

// Ask has ask run on the owner's goroutine, and waits until its argument is called with the
// answer. The error is that answer, or why there is none: that of ctx, or ErrEnded.
func (l *Loop[R]) Ask(ctx context.Context, ask func(onAnswered func(error))) error {
	answer := make(chan error, 1)
	if err := l.Do(ctx, func() { ask(func(err error) { answer <- err }) }); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
	}
	select {
	case err := <-answer: // the end itself gave it
		return err
	default:
		return ErrEnded
	}
}

// Pulse is how far a journal has come at a moment.
type Pulse struct {
	Next   uint64     // the lowest seq that is not applied
	Epoch  uint32     // the highest that is applied
	Leader segment.ID // the node that opened it; zero: none ever led
	Ended  *End       // that leadership has ended with this entry; nil: not, or not known
	Busy   bool       // something is to be written: an own object is under way, or the journal is taken over
}

// Pulse asks the owner's goroutine, so an answer shows that it runs. ended gives the last part,
// there; it may be nil. The error is that of ctx, or ErrEnded.
func (l *Loop[R]) Pulse(ctx context.Context, ended func() (End, bool)) (Pulse, error) {
	answer := make(chan Pulse, 1)
	err := l.Ask(ctx, func(onAnswered func(error)) {
		p := l.owner.Core().pulse()
		if ended != nil {
			if e, ok := ended(); ok {
				p.Ended = &e
			}
		}
		answer <- p
		onAnswered(nil)
	})
	if err != nil {
		return Pulse{}, err
	}
	return <-answer, nil
}

// HandOver has a journal handed over, and returns nil when the leadership is over, which
// closes over. begin and takeBack run on the owner's goroutine. If ctx ends, takeBack is
// called, which reports whether the leadership goes on. The error is that of begin then, or of ctx.
func (l *Loop[R]) HandOver(ctx context.Context, begin func() error, takeBack func() bool, over <-chan struct{}) error {
	err := l.Ask(ctx, func(onAnswered func(error)) {
		if !l.owner.Core().MayEnd() {
			onAnswered(errNoEnd)
			return
		}
		onAnswered(begin())
	})
	if err != nil && ctx.Err() == nil {
		return err
	}
	if err == nil {
		select {
		case <-over:
			return nil
		case <-ctx.Done():
		}
	}
	if err := l.Ask(context.WithoutCancel(ctx), func(onAnswered func(error)) {
		if takeBack() {
			onAnswered(ctx.Err())
			return
		}
		onAnswered(nil)
	}); err != nil {
		return err
	}
	select {
	case <-over:
		return nil
	case <-l.done:
		return ErrEnded
	}
}

// Close ends the Loop and waits. Objects under way have an unknown outcome.
func (l *Loop[R]) Close() { l.End(nil) }

// End is Close for a reason, which Err returns unless the Loop has ended before.
func (l *Loop[R]) End(reason error) {
	l.stopOnce.Do(func() {
		l.reason = reason
		close(l.stop)
	})
	<-l.done
}

func (l *Loop[R]) run(m Machine) {
	defer close(l.done)
	l.owner.Start(m)
	for !l.owner.Ended() {
		l.noteReady()
		l.step()
	}
	l.runner.close()
	l.err = l.owner.Err()
	if l.intake.Close != nil {
		if err := l.intake.Close(); l.err == nil {
			l.err = err
		}
	}
}

func (l *Loop[R]) noteReady() {
	if !l.owner.Ready() {
		return
	}
	select {
	case <-l.ready:
	default:
		close(l.ready)
	}
}

// step waits for one event and takes it.
func (l *Loop[R]) step() {
	requests := l.requests
	if l.full() {
		requests = nil
	}
	var signal <-chan struct{}
	if l.intake.Signal != nil {
		signal = l.intake.Signal()
	}
	select {
	case r := <-requests:
		l.intake.Take(r)
		l.takeMore()
		l.owner.Wake()
	case ev := <-l.runner.events:
		if f, ok := ev.(call); ok {
			l.owner.Do(f)
			return
		}
		l.owner.Handle(ev)
	case <-signal:
		l.owner.Wake()
	case <-l.runner.timer.C:
		l.runner.wake = time.Time{}
		l.owner.Wake()
	case <-l.stop:
		l.owner.Do(func() { l.owner.End(l.reason) })
	}
}

// takeMore takes the requests that wait already.
func (l *Loop[R]) takeMore() {
	for !l.full() {
		select {
		case r := <-l.requests:
			l.intake.Take(r)
		default:
			return
		}
	}
}

func (l *Loop[R]) full() bool { return l.intake.Full != nil && l.intake.Full() }
