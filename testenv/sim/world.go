// Package sim is a deterministic simulation for tests: virtual time, a seeded
// queue of events on one goroutine, processes that crash and freeze, and an object
// store with faults.
//
// It owns the order of events: everything random comes from the seed, so a seed
// replays exactly, and Replays checks it. It promises that the store keeps the
// assumptions about every store. Create-if-absent is atomic, a read that begins after a
// create sees the object, and a key reads as missing only when it is. A world never waits
// for real time; Run simulates several in parallel, each on a goroutine of its own.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
)

// World is virtual time and the queue of events to come. One goroutine uses it.
type World struct {
	Rand *rand.Rand

	t      *seeded.T
	now    time.Duration
	queue  queue
	serial uint64

	cleanups []func() // end the routines that wait for events
}

// epoch is when virtual time begins.
var epoch = time.UnixMilli(1_700_000_000_000)

// newWorld starts at time zero with an empty queue.
func newWorld(t *seeded.T) *World {
	w := &World{Rand: rand.New(rand.NewSource(t.Seed)), t: t}
	t.Clock = w.Elapsed
	return w
}

// Now is the virtual time.
func (w *World) Now() time.Time { return epoch.Add(w.now) }

// Elapsed is the virtual time since the start.
func (w *World) Elapsed() time.Duration { return w.now }

// Err is the first failure.
func (w *World) Err() error { return w.t.Err() }

// Fail reports a failure; Run stops. Only the first failure counts.
func (w *World) Fail(format string, args ...any) {
	w.t.Errorf("after %v, %d events: %w", w.now, w.t.Events, fmt.Errorf(format, args...))
}

// After lets f happen when d has passed. The trace has it under its name.
func (w *World) After(d time.Duration, what string, f func()) {
	w.serial++
	heap.Push(&w.queue, &event{at: w.now + max(d, 0), serial: w.serial, what: what, f: f})
}

// Run lets events happen until none is left, done returns true (it may be nil), d has
// passed, or the world has failed. It reports whether done returned true.
func (w *World) Run(d time.Duration, done func() bool) bool {
	until := w.now + d
	for w.t.Err() == nil {
		if done != nil && done() {
			return true
		}
		if len(w.queue) == 0 || w.queue[0].at > until {
			break
		}
		e := heap.Pop(&w.queue).(*event)
		w.now = e.at
		w.t.Events++
		w.Trace(e.what, uint64(e.at), e.serial)
		e.f()
	}
	w.now = max(w.now, until)
	return false
}

// Close ends the routines that still wait for events. The world is of no use afterwards.
func (w *World) Close() {
	for _, f := range w.cleanups {
		f()
	}
}

// Trace adds an event to the trace.
func (w *World) Trace(name string, values ...uint64) { w.t.Trace(name, values...) }

// Count counts an event that a test wants to see.
func (w *World) Count(name string) { w.t.Count(name) }

// Logf writes a line where lines are wanted.
func (w *World) Logf(format string, args ...any) { w.t.Logf(format, args...) }

// Chance is true with probability p, unless shrinking leaves it out.
func (w *World) Chance(p float64) bool { return p > 0 && w.Rand.Float64() < p && w.t.Keep() }

// Between draws a time from lo to hi, the short ones more often.
func (w *World) Between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	f := w.Rand.Float64()
	return lo + time.Duration(f*f*float64(hi-lo))
}

// event is something that is to happen.
type event struct {
	at     time.Duration
	serial uint64
	what   string
	f      func()
}

// queue is a heap of events by time, those of one moment in the order in which
// they were queued.
type queue []*event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].serial < q[j].serial
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
