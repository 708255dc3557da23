package seeded

import "testing"

// attempt is a run to try.
type attempt[P any] struct {
	seed  int64
	shape P
	keep  []bool // of its choices; nil: all
}

const (
	// traceLines is how much of a trace is shown.
	traceLines = 400
	// otherSeeds is how many seeds are tried for a smaller shape: its run is another
	// one, and may not fail by chance.
	otherSeeds = 8
	// maxRuns bounds the runs in which choices are left out.
	maxRuns = 2000
)

// explain runs one seed. If it fails, it shows the end of the trace of the shortest
// run found that still fails.
func (test Test[P]) explain(t *testing.T, seed int64) {
	a := attempt[P]{seed: seed, shape: test.draw(seed)}
	r := test.run(t, a, nil)
	t.Logf("seed %d: %d events, %d choices, trace %016x", seed, r.Events, r.choices, r.trace)
	if r.err == nil {
		return
	}
	t.Logf("as drawn: %+v\n%v", a.shape, r.err)
	a = test.shrink(t, a)
	var lines []string
	r = test.run(t, a, func(line string) { lines = append(lines, line) })
	for _, line := range lines[max(0, len(lines)-traceLines):] {
		t.Log(line)
	}
	t.Fatalf("seed %d, shrunk to %d events, %d choices, %+v: %v", a.seed, r.Events, a.kept(), a.shape, r.err)
}

// Size is how long a run is.
type Size struct{ Events, Choices int }

// Shrink returns the size of the run of a seed that fails, and that of the shortest run
// found that still fails. It is for tests of shrinking.
func Shrink[P any](t testing.TB, test Test[P], seed int64) (drawn, shrunk Size) {
	a := attempt[P]{seed: seed, shape: test.draw(seed)}
	before := test.run(t, a, nil)
	a = test.shrink(t, a)
	after := test.run(t, a, nil)
	if before.err == nil || after.err == nil {
		t.Fatalf("seed %d fails with %v, and shrunk with %v", seed, before.err, after.err)
	}
	return Size{before.Events, before.choices}, Size{after.Events, a.kept()}
}

// kept returns how many choices happen in a run that shrinking has gone over.
func (a attempt[P]) kept() (n int) {
	for _, keep := range a.keep {
		if keep {
			n++
		}
	}
	return n
}

// shrink returns an attempt that fails too, with fewer events or choices.
func (test Test[P]) shrink(t testing.TB, a attempt[P]) attempt[P] {
	return test.shrinkChoices(t, test.shrinkShape(t, a))
}

// shrinkShape tries smaller shapes, a few seeds each, and keeps those that fail with
// fewer events.
func (test Test[P]) shrinkShape(t testing.TB, a attempt[P]) attempt[P] {
	events := test.run(t, a, nil).Events
	for again := true; again; {
		again = false
		for _, less := range test.Less {
			smaller, can := less(a.shape)
			if !can {
				continue
			}
			for i := range int64(otherSeeds) {
				b := attempt[P]{seed: a.seed + i*1_000_003, shape: smaller}
				if r := test.run(t, b, nil); r.err != nil && r.Events < events {
					a, events, again = b, r.Events, true
					break
				}
			}
		}
	}
	return a
}

// shrinkChoices leaves out choices, many at once and then single ones, the last ones
// first, as long as the run still fails, and is no longer than at the beginning.
func (test Test[P]) shrinkChoices(t testing.TB, a attempt[P]) attempt[P] {
	r := test.run(t, a, nil)
	if r.choices == 0 {
		return a
	}
	most := r.Events
	a.keep = make([]bool, r.choices)
	for i := range a.keep {
		a.keep[i] = true
	}
	runs := 0
	for size := len(a.keep); size > 0; size /= 2 {
		for again := true; again; {
			again = false
			for end := len(a.keep); end > 0 && runs < maxRuns; end = min(end-size, len(a.keep)) {
				b, less := a.without(end-size, end)
				if !less {
					continue
				}
				runs++
				if r := test.run(t, b, nil); r.err != nil && r.Events <= most {
					b.keep = b.keep[:min(len(b.keep), r.choices)] // it ended there
					a, again = b, size == 1
				}
			}
		}
	}
	return a
}

// without leaves out the choices from start up to end. less is false if they are out
// already.
func (a attempt[P]) without(start, end int) (b attempt[P], less bool) {
	b = a
	b.keep = append([]bool(nil), a.keep...)
	for i := max(start, 0); i < end; i++ {
		less = less || b.keep[i]
		b.keep[i] = false
	}
	return b, less
}
