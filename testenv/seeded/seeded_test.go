package seeded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// thirds fails once three steps have drawn a 7. Steps is how many there are.
var thirds = Test[int]{
	Draw: func(int64) int { return 800 },
	Run: func(t *T, steps int) {
		n := 0
		t.Steps(steps, func(r *rand.Rand) {
			if r.IntN(100) == 7 {
				n++
			}
			t.Trace("step", uint64(n))
			if n == 3 {
				t.Fatalf("planted")
			}
		})
	},
	Less: []func(int) (int, bool){func(n int) (int, bool) { return n / 2, n > 1 }},
}

func TestShrinkingLeavesOutEveryStepThatIsNotNeeded(t *testing.T) {
	a := attempt[int]{seed: 5, shape: thirds.draw(5)}
	before := thirds.run(t, a, nil)
	b := thirds.shrinkChoices(t, a)
	after := thirds.run(t, b, nil)
	if before.err == nil || after.err == nil || b.kept() != 3 || after.Events != 3 || before.Events < 100 {
		t.Errorf("%d events before (%v), %d events and %d choices after (%v), want 3", before.Events, before.err, after.Events, b.kept(), after.err)
	}
}

func TestShrinkingTakesASmallerShapeThatFailsWithFewerEvents(t *testing.T) {
	byShape := Test[int]{
		Draw: thirds.Draw, Less: thirds.Less,
		Run: func(t *T, steps int) {
			t.Events = steps
			if steps > 30 {
				t.Error("planted")
			}
		},
	}
	if a := byShape.shrink(t, attempt[int]{shape: 800}); a.shape != 50 {
		t.Errorf("shrunk to %d, want 50: half of it passes", a.shape)
	}
}

func TestTheLowestSeedThatFailsIsReported(t *testing.T) {
	test := Test[struct{}]{Run: func(t *T, _ struct{}) {
		t.Count("run")
		t.Events++
		if t.Seed%20 == 13 {
			panic("planted")
		}
	}}
	failed, events, counts := test.all(t, 100)
	if failed != 13 || events < 14 || counts["run"] != int(events) {
		t.Errorf("seed %d, %d events, %v", failed, events, counts)
	}
	if failed, _, _ := test.all(t, 13); failed != -1 {
		t.Errorf("seed %d fails", failed)
	}
}

func TestSeedsThatDidNotRunAreAFailure(t *testing.T) {
	outer := &T{}
	failed, _, _ := Test[struct{}]{Run: func(*T, struct{}) { runtime.Goexit() }}.all(outer, 10)
	if failed != -1 || outer.Err() == nil {
		t.Errorf("seed %d, %v", failed, outer.Err())
	}
}

func TestARunIsATestOfItsOwn(t *testing.T) {
	var seen []string
	run := func(f func(t *T)) error {
		r := Test[struct{}]{Run: func(t *T, _ struct{}) {
			t.Cleanup(func() { seen = append(seen, "first") })
			t.Cleanup(func() { seen = append(seen, "last") })
			f(t)
			seen = append(seen, "end")
		}}.run(nil, attempt[struct{}]{seed: 1}, nil)
		return r.err
	}
	for want, f := range map[string]func(t *T){
		"":         func(*T) {},
		"a 1":      func(t *T) { t.Error("a", 1); t.Error("b") },
		"fatal 2":  func(t *T) { t.Fatalf("fatal %d", 2) },
		"fatal":    func(t *T) { t.Fatal(errors.New("fatal")) },
		"has fail": func(t *T) { t.FailNow() },
		"panic: p": func(*T) { panic("p") },
		"no run":   func(t *T) { t.Skip("no run") },
	} {
		seen = nil
		err := run(f)
		ends := want == "" || want == "a 1"
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(got, want) && err != nil {
			t.Errorf("got %v, want %q", err, want)
		}
		if got := strings.Join(seen, " "); got != map[bool]string{true: "end last first", false: "last first"}[ends] {
			t.Errorf("%q: %s", want, got)
		}
	}
}

func TestReplaysFindsRandomnessThatIsNotOfTheSeed(t *testing.T) {
	if err := Replays(thirds, 5); err != nil {
		t.Error(err)
	}
	runs := uint64(0)
	other := Test[struct{}]{Run: func(t *T, _ struct{}) { runs++; t.Trace("x", runs) }}
	if err := Replays(other, 5); err == nil {
		t.Error("no error")
	}
}

func TestAFailureNamesTheCommandThatReplaysIt(t *testing.T) {
	t.Run("part", func(t *testing.T) {
		want := "go test ./testenv/seeded -run '^TestAFailureNamesTheCommandThatReplaysIt$/^part$' -sim.seed=7 -v"
		if got := command(t, 7); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
