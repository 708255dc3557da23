package journal

import (
	"sync"
	"time"
)

// A follower that found nothing for a while, and that no request waits for, looks less
// often. Its pause is a share of the time since, up to idlePause. Every look
// costs two requests to the store.
const (
	idleShare = 8
	idlePause = 10 * time.Second
)

// Pace says when a follower looks for new objects by itself. It reads no clock and is
// safe for concurrent use; it may pass from one follower of a journal to the next.
type Pace struct {
	least func() time.Duration // between two looks

	mu      sync.Mutex
	waiting int       // for objects
	since   time.Time // an object was applied, or a wait began or ended
	looked  time.Time

	changed chan struct{} // capacity 1: Due may have moved
}

// NewPace is a Pace of at least least between two looks.
func NewPace(least func() time.Duration) *Pace {
	return &Pace{least: least, changed: make(chan struct{}, 1)}
}

// Changed returns a channel that gets a value when Due may have moved.
func (p *Pace) Changed() <-chan struct{} { return p.changed }

// Due is when to look next.
func (p *Pace) Due() time.Time {
	least := p.least()
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := least
	if p.waiting == 0 {
		pause = max(least, min(p.looked.Sub(p.since)/idleShare, idlePause))
	}
	return p.looked.Add(pause)
}

// Looked notes that a look begins.
func (p *Pace) Looked(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked = now
}

// Moved notes that there was something new.
func (p *Pace) Moved(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = now
}

// Await notes that a request waits for objects. The function it returns ends that.
func (p *Pace) Await(now func() time.Time) (end func()) {
	p.wait(now(), 1)
	return func() { p.wait(now(), -1) }
}

// Wanted notes that an object is missed that may be there.
func (p *Pace) Wanted(now time.Time) { p.wait(now, 0) }

func (p *Pace) wait(now time.Time, more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += more
	p.since = now
	select {
	case p.changed <- struct{}{}:
	default:
	}
}
