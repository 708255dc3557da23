package drive

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/varvelog/varve/metadata/membership"
)

// ErrEnded: the Loop has ended.
var ErrEnded = errors.New("the loop of the cluster has ended")

// Loop runs a Driver on a goroutine of its own, and lets it tick. Nothing else runs there, so
// that ticks come in time: late ones void evidence.
type Loop struct {
	events   chan func()
	stopOnce sync.Once
	stop     chan struct{}
	done     chan struct{}
}

// eventsWait is how many events may wait for the goroutine. Senders of more are held back.
const eventsWait = 64

// NewLoop prepares a Loop, for an Env.
func NewLoop() *Loop {
	return &Loop{events: make(chan func(), eventsWait), stop: make(chan struct{}), done: make(chan struct{})}
}

// Start begins. Close must follow.
func (l *Loop) Start(d *Driver) { go l.run(d) }

func (l *Loop) run(d *Driver) {
	defer close(l.done)
	ticks := time.NewTicker(membership.TickEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			d.Tick()
		case f := <-l.events:
			f()
		case <-l.stop:
			return
		}
	}
}

// Do has f run on the goroutine of the Driver; it must not be called there. The error is why
// f does not run: that of ctx, or ErrEnded. If the Loop ends at the same moment, f may not run
// without an error.
func (l *Loop) Do(ctx context.Context, f func()) error {
	select {
	case l.events <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return ErrEnded
	}
}

// Ended is closed when the Loop has ended.
func (l *Loop) Ended() <-chan struct{} { return l.done }

// Close ends the Loop and waits. Events that wait do not happen.
func (l *Loop) Close() {
	l.stopOnce.Do(func() { close(l.stop) })
	<-l.done
}
