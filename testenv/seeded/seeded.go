// Package seeded runs random tests: many seeds in parallel, and a shorter run of a
// seed that fails.
//
// It owns the flags -sim.seeds and -sim.seed, and the search for a shorter run. It
// promises that everything random in a run comes from its seed, so the seed replays
// the run. A failure names the seed and the command that replays it. It never waits
// for real time.
//
// Tests over data that has no order of events use rapid instead, which shrinks values.
package seeded

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds   = flag.Int("sim.seeds", 0, "how many seeds random tests run; 0 for each test's own number")
	first   = flag.Int64("sim.first", 0, "the first of the seeds that random tests run")
	oneSeed = flag.Int64("sim.seed", -1, "the one seed that random tests run; if it fails, it is shrunk, and -v shows its trace")
)

// Test is a random test. P says how much of everything there is in a run.
type Test[P any] struct {
	Draw func(seed int64) P              // nil: the zero value
	Run  func(t *T, p P)                 // a failure of t, or a panic, fails the seed
	Less []func(P) (smaller P, can bool) // ways to make a run smaller, for shrinking
	Must []string                        // names that T.Count must have counted in a full run, and in a short one
	Rare []string                        // the same in a full run only
}

// Run runs a test with many seeds, or with few under -short. It fails t with the
// lowest seed that was seen to fail. Under the race detector it runs a tenth of them.
func Run[P any](t *testing.T, test Test[P], many, few int) {
	t.Helper()
	if *oneSeed >= 0 {
		test.explain(t, *oneSeed)
		return
	}
	n := max(1, many/slower)
	if testing.Short() {
		n = max(1, few/slower)
	}
	if *seeds > 0 {
		n = *seeds
	}
	begin := time.Now()
	failed, events, counts := test.all(t, int64(n))
	if failed >= 0 {
		r := test.run(t, attempt[P]{seed: failed, shape: test.draw(failed)}, nil)
		if r.err == nil {
			r.err = errors.New("it failed, and passes when it is run again: something random is not of the seed")
		}
		t.Fatalf("seed %d: %v\nreplay and shrink it with: %s", failed, r.err, command(t, failed))
	}
	took := time.Since(begin)
	t.Logf("%d seeds, %d events a seed, %.0f seeds a second", n, events/int64(n), float64(n)/took.Seconds())
	if len(counts) > 0 {
		t.Log(counts)
	}
	must := test.Must
	if n < few {
		must = nil
	} else if n >= many {
		must = append(slices.Clone(must), test.Rare...)
	}
	for _, name := range must {
		if counts[name] == 0 {
			t.Errorf("never happened in %d seeds: %s", n, name)
		}
	}
}

// Seed returns the seed of a test that runs one, and logs how to run it again.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Int64()
	if *oneSeed >= 0 {
		seed = *oneSeed
	}
	t.Logf("seed %d; again with: %s", seed, command(t, seed))
	return uint64(seed)
}

// command returns the command that runs one seed of a test.
func command(t testing.TB, seed int64) string {
	return fmt.Sprintf("go test %s -run '^%s$' -sim.seed=%d -v", folder(), strings.ReplaceAll(t.Name(), "/", "$/^"), seed)
}

// folder returns the folder of the package under test, as the go command takes it.
func folder() string {
	dir, err := os.Getwd()
	if err != nil {
		return "."
	}
	for root := dir; root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			if rel, err := filepath.Rel(root, dir); err == nil {
				return "./" + filepath.ToSlash(rel)
			}
		}
	}
	return "."
}

// all returns the lowest seed that was seen to fail, or -1, how many events there
// were, and the counts.
func (test Test[P]) all(t testing.TB, n int64) (failed, events int64, counts map[string]int) {
	var next, ran, total, bad atomic.Int64
	var mu sync.Mutex
	counts = map[string]int{}
	next.Store(*first)
	bad.Store(*first + n)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= bad.Load() {
					return
				}
				r := test.run(t, attempt[P]{seed: seed, shape: test.draw(seed)}, nil)
				ran.Add(1)
				total.Add(int64(r.Events))
				mu.Lock()
				for name, k := range r.counts {
					counts[name] += k
				}
				if r.err != nil {
					bad.Store(min(bad.Load(), seed))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if bad.Load() == *first+n {
		if ran.Load() < n { // by runtime.Goexit, such as that of another test's FailNow
			t.Errorf("%d of %d seeds ran to their end", ran.Load(), n)
		}
		return -1, total.Load(), counts
	}
	return bad.Load(), total.Load(), counts
}

func (test Test[P]) draw(seed int64) (p P) {
	if test.Draw == nil {
		return p
	}
	return test.Draw(seed)
}

// run runs one attempt. A panic is a failure.
func (test Test[P]) run(t testing.TB, a attempt[P], log func(string)) (r *T) {
	r = &T{
		TB: t, Seed: a.seed, Rand: rand.New(rand.NewPCG(uint64(a.seed), 0)),
		keep: a.keep, log: log, counts: map[string]int{}, trace: traceStart,
	}
	defer r.cleanUp()
	defer func() {
		if p := recover(); p != nil && p != any(stopped) {
			r.fail(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	test.Run(r, a.shape)
	return r
}

// Replays runs n seeds twice and returns an error if the traces differ.
func Replays[P any](test Test[P], n int64) error {
	var errs []error
	for seed := range n {
		once := attempt[P]{seed: seed, shape: test.draw(seed)}
		a, b := test.run(nil, once, nil), test.run(nil, once, nil)
		if a.trace != b.trace || a.Events != b.Events {
			errs = append(errs, fmt.Errorf("seed %d: trace %016x of %d events, then %016x of %d", seed, a.trace, a.Events, b.trace, b.Events))
		}
	}
	return errors.Join(errs...)
}
