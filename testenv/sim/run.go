package sim

import (
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds   = flag.Int("sim.seeds", 0, "seeds to simulate; 0 for the test's own number")
	oneSeed = flag.Int64("sim.seed", -1, "the one seed to simulate, shrunk if it fails, with its trace")
)

// Shape is what a simulation is made of: how much of everything. P is a struct
// of the test's own.
type Shape[P any] struct {
	Draw func(r *rand.Rand) P            // of a seed
	Run  func(w *World, p P)             // failures are told by World.Fail
	Less []func(P) (smaller P, can bool) // ways to make it smaller, for shrinking
	Must []string                        // what World.Count must have been told of in a full run
}

// Run simulates seeds, many or under -short few, beside each other, and fails t
// with the first seed that fails. With the race detector they are a tenth.
func Run[P any](t *testing.T, s Shape[P], many, few int) {
	if *oneSeed >= 0 {
		s.explain(t, *oneSeed)
		return
	}
	n := many / slower
	if testing.Short() {
		n = few / slower
	}
	if *seeds > 0 {
		n = *seeds
	}
	begin := time.Now()
	failed, events, counts := s.all(int64(n))
	if failed >= 0 {
		w := s.run(failed, s.draw(failed), nil)
		t.Fatalf("seed %d: %v\nreplay and shrink it with -run '^%s$' -sim.seed=%d -v", failed, w.Err(), t.Name(), failed)
	}
	took := time.Since(begin)
	t.Logf("%d seeds, %d events a seed, %.0f seeds a second\n%v", n, events/int64(n), float64(n)/took.Seconds(), counts)
	for _, what := range s.Must {
		if n >= few && counts[what] == 0 {
			t.Errorf("never happened in %d seeds: %s", n, what)
		}
	}
}

// all returns the lowest seed seen to fail, or -1, how many events there were,
// and what was counted.
func (s Shape[P]) all(n int64) (failed, events int64, counts map[string]int) {
	var next, total, bad atomic.Int64
	var mu sync.Mutex
	counts = map[string]int{}
	bad.Store(n)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= bad.Load() {
					return
				}
				w := s.run(seed, s.draw(seed), nil)
				total.Add(int64(w.Events()))
				mu.Lock()
				for what, k := range w.Counts {
					counts[what] += k
				}
				mu.Unlock()
				for w.Err() != nil {
					lowest := bad.Load()
					if seed >= lowest || bad.CompareAndSwap(lowest, seed) {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	if bad.Load() == n {
		return -1, total.Load(), counts
	}
	return bad.Load(), total.Load(), counts
}

func (s Shape[P]) draw(seed int64) P { return s.Draw(rand.New(rand.NewSource(^seed))) }

// run simulates one seed. A panic is a failure.
func (s Shape[P]) run(seed int64, p P, log func(string)) (w *World) {
	w = NewWorld(seed)
	w.Log = log
	defer func() {
		if r := recover(); r != nil {
			w.Fail("panic: %v\n%s", r, debug.Stack())
		}
	}()
	defer w.Close()
	s.Run(w, p)
	return w
}

// traceLines is how much of a trace is shown.
const traceLines = 400

// explain runs one seed, and if it fails the smallest shape of it that still
// fails, and shows the end of the trace.
func (s Shape[P]) explain(t *testing.T, seed int64) {
	p := s.draw(seed)
	w := s.run(seed, p, nil)
	t.Logf("seed %d: %d events in %v, trace %016x", seed, w.Events(), w.Elapsed(), w.TraceHash())
	if w.Err() == nil {
		return
	}
	t.Logf("as drawn: %+v\n%v", p, w.Err())
	seed, p = s.shrink(seed, p, w.Events())
	var lines []string
	w = s.run(seed, p, func(line string) { lines = append(lines, line) })
	for _, line := range lines[max(0, len(lines)-traceLines):] {
		t.Log(line)
	}
	t.Fatalf("seed %d, shrunk to %+v: %v", seed, p, w.Err())
}

// shrink tries smaller shapes, a few seeds each, and keeps what fails with fewer
// events.
func (s Shape[P]) shrink(seed int64, p P, events int) (int64, P) {
	const tries = 8
	for again := true; again; {
		again = false
		for _, less := range s.Less {
			smaller, can := less(p)
			if !can {
				continue
			}
			for i := range int64(tries) {
				w := s.run(seed+i*1_000_003, smaller, nil)
				if w.Err() != nil && w.Events() < events {
					seed, p, events, again = seed+i*1_000_003, smaller, w.Events(), true
					break
				}
			}
		}
	}
	return seed, p
}

// Replays runs seeds twice and returns an error if the traces differ.
func Replays[P any](s Shape[P], n int64) error {
	var errs []error
	for seed := range n {
		a, b := s.run(seed, s.draw(seed), nil), s.run(seed, s.draw(seed), nil)
		if a.TraceHash() != b.TraceHash() || a.Events() != b.Events() {
			errs = append(errs, fmt.Errorf("seed %d: trace %016x of %d events, then %016x of %d", seed, a.TraceHash(), a.Events(), b.TraceHash(), b.Events()))
		}
	}
	return errors.Join(errs...)
}
