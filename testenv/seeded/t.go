package seeded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// T is one run of a seed. One goroutine uses it. As a testing.TB it takes failures and
// logs for itself; everything else is the test's own.
type T struct {
	testing.TB
	Seed   int64
	Rand   *rand.Rand
	Events int                  // how many events have happened; Steps counts its own
	Clock  func() time.Duration // virtual time, for the lines of the log; nil: none

	keep     []bool // which choices are kept; nil: all
	choices  int
	log      func(string) // nil: lines are not wanted
	counts   map[string]int
	trace    uint64
	err      error
	cleanups []func()
}

// traceStart is the start of FNV-1a.
const traceStart = 14695981039346656037

var stopped = errors.New("the run has failed")

// Err returns the first failure.
func (t *T) Err() error { return t.err }

func (t *T) fail(err error) {
	if t.err == nil {
		t.err = err
		t.Logf("FAIL %v", err)
	}
}

// Keep reports whether a choice, such as a fault that was drawn, is to happen. It is
// false only for choices that shrinking leaves out.
func (t *T) Keep() bool {
	t.choices++
	return t.keep == nil || t.choices <= len(t.keep) && t.keep[t.choices-1]
}

// Steps runs n steps until one fails. Each has random numbers of its own: a step that
// shrinking leaves out does not change those of the others.
func (t *T) Steps(n int, step func(r *rand.Rand)) {
	for i := range n {
		if t.err != nil {
			return
		}
		if t.Keep() {
			t.Events++
			if t.log != nil {
				t.Logf("step %d", i)
			}
			step(rand.New(rand.NewPCG(uint64(t.Seed), uint64(i)+1)))
		}
	}
}

// Count counts an event that the test wants to see.
func (t *T) Count(name string) {
	t.counts[name]++
	t.Trace(name)
}

// Trace adds an event to the trace.
func (t *T) Trace(name string, values ...uint64) {
	for i := range len(name) {
		t.mix(uint64(name[i]))
	}
	for _, v := range values {
		t.mix(v)
	}
	if t.log != nil {
		t.Logf("%s %v", name, values)
	}
}

// mix is a step of FNV-1a, with a whole word at a time.
func (t *T) mix(v uint64) {
	t.trace = (t.trace ^ v) * 1099511628211
	t.trace ^= t.trace >> 29
}

// Logf implements testing.TB.
func (t *T) Logf(format string, args ...any) {
	if t.log == nil {
		return
	}
	line := strings.TrimSpace(fmt.Sprintf(format, args...))
	if t.Clock != nil {
		line = fmt.Sprintf("%12v  %s", t.Clock(), line)
	}
	t.log(line)
}

// Log implements testing.TB.
func (t *T) Log(args ...any) {
	if t.log != nil {
		t.Logf("%s", fmt.Sprintln(args...))
	}
}

// Errorf implements testing.TB. Only the first failure counts.
func (t *T) Errorf(format string, args ...any) { t.fail(fmt.Errorf(format, args...)) }

// Error implements testing.TB.
func (t *T) Error(args ...any) { t.fail(errors.New(strings.TrimSpace(fmt.Sprintln(args...)))) }

// Fail implements testing.TB.
func (t *T) Fail() { t.fail(stopped) }

// FailNow implements testing.TB: it ends the run.
func (t *T) FailNow() {
	t.Fail()
	panic(stopped)
}

// Fatalf implements testing.TB: it ends the run.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(stopped)
}

// Fatal implements testing.TB: it ends the run.
func (t *T) Fatal(args ...any) {
	t.Error(args...)
	panic(stopped)
}

// SkipNow implements testing.TB. A seed is not left out: the test would pass without it.
func (t *T) SkipNow() { t.Fatal("a run skips its test") }

// Skip implements testing.TB; see SkipNow.
func (t *T) Skip(args ...any) { t.Fatal(append([]any{"a run skips its test:"}, args...)...) }

// Skipf implements testing.TB; see SkipNow.
func (t *T) Skipf(format string, args ...any) { t.Fatalf("a run skips its test: "+format, args...) }

// Failed implements testing.TB.
func (t *T) Failed() bool { return t.err != nil }

// Helper implements testing.TB.
func (t *T) Helper() {}

// Cleanup implements testing.TB: f is called at the end of the run.
func (t *T) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *T) cleanUp() {
	for len(t.cleanups) > 0 {
		f := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		f()
	}
}
