package upkeep

import (
	"context"
	"sync"
	"time"
)

// Pacer bounds the bytes that tiering moves in a second, so that it leaves the store and
// the processor to clients. It may be used by many goroutines.
type Pacer struct {
	clock Clock
	rate  func() int64 // bytes a second; 0: no bound

	mu   sync.Mutex
	free time.Time // when the bytes taken so far have passed
}

// NewPacer returns a Pacer whose rate may change at any time.
func NewPacer(clock Clock, rate func() int64) *Pacer { return &Pacer{clock: clock, rate: rate} }

// saved is the most that is made up for after a pause: a job also computes, and waits for
// entries, while it moves nothing.
const saved = 200 * time.Millisecond

// Wait waits until the bytes before have passed, and takes so many more. So a caller may
// take any number at once, and the next one waits.
func (p *Pacer) Wait(ctx context.Context, bytes int64) error {
	rate := p.rate()
	if rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := p.clock.Now()
	wait := p.free.Sub(now)
	p.free = later(p.free, now.Add(-saved)).Add(time.Duration(float64(bytes) / float64(rate) * float64(time.Second)))
	p.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return p.clock.Sleep(ctx, wait)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Flow is a rate of bytes, as it was in the last seconds. It may be used by many
// goroutines.
type Flow struct {
	clock Clock

	mu    sync.Mutex
	total int64
	begun time.Time // of the second under way
	bytes int64     // in it
	rate  float64   // bytes a second, before it
}

// NewFlow returns a Flow without any bytes.
func NewFlow(clock Clock) *Flow { return &Flow{clock: clock, begun: clock.Now()} }

// Add counts bytes.
func (f *Flow) Add(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn()
	f.total += bytes
	f.bytes += bytes
}

// flowSpan is how long a rate is measured.
const flowSpan = 2 * time.Second

func (f *Flow) turn() {
	if took := f.clock.Now().Sub(f.begun); took >= flowSpan {
		f.rate = float64(f.bytes) / took.Seconds()
		f.begun, f.bytes = f.begun.Add(took), 0
	}
}

// Rate returns the bytes a second.
func (f *Flow) Rate() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn()
	return int64(f.rate)
}

// Total returns all bytes.
func (f *Flow) Total() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}
