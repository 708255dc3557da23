package upkeep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/tiering/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a Keeper in virtual time, which ends after a while.
type bench struct {
	t        *testing.T
	now      time.Time
	until    time.Time
	ran      []string // names of steps, with the seconds since the begin
	troubles []string
	disabled bool
}

var began = time.UnixMilli(1_000_000)

func newBench(t *testing.T, lasts time.Duration) *bench {
	return &bench{t: t, now: began, until: began.Add(lasts)}
}

func (b *bench) Now() time.Time { return b.now }
func (b *bench) Sleep(_ context.Context, d time.Duration) error {
	if b.now = b.now.Add(d); b.now.After(b.until) {
		return context.Canceled
	}
	return nil
}

// step is a step whose runs end as outcome says; n counts them.
func (b *bench) step(name string, outcome func(n int) (bool, error)) Step {
	n := 0
	return Step{Name: name, Run: func(context.Context) (bool, error) {
		b.ran = append(b.ran, fmt.Sprintf("%s %v", name, b.now.Sub(began).Seconds()))
		n++
		return outcome(n)
	}}
}

func (b *bench) run(steps ...Step) error {
	k := New(Options{
		Steps: steps, Clock: b, Enabled: func() bool { return !b.disabled }, Log: slog.New(slog.DiscardHandler),
		OnTrouble: func(step string, err error) { b.troubles = append(b.troubles, fmt.Sprintf("%s: %v", step, err)) },
	})
	return k.Run(b.t.Context())
}

func (b *bench) expect(what string, got []string, want ...string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func quiet(int) (bool, error) { return false, nil }

func TestStepsRunInTurnWithAPauseWhenThereIsNoMoreToDo(t *testing.T) {
	b := newBench(t, 19*time.Second)
	_ = b.run(b.step("a", quiet), b.step("b", func(n int) (bool, error) { return n < 3, nil }))
	b.expect("runs", b.ran, "a 0", "b 0", "a 0", "b 0", "a 0", "b 0", "a 10", "b 10")
}

func TestAStepThatFailsIsTriedAgainLaterAndHoldsUpNoOther(t *testing.T) {
	b := newBench(t, 59*time.Second)
	failing := errors.New("no store")
	_ = b.run(b.step("a", func(n int) (bool, error) {
		if n < 6 {
			return true, failing
		}
		return false, nil
	}), b.step("b", quiet))
	b.expect("runs", b.ran, "a 0", "b 0", "a 10", "b 10", "a 20", "b 20", "a 30", "b 30", "a 40", "b 40", "b 50")
	b.expect("troubles", b.troubles, slices.Repeat([]string{"a: no store"}, 5)...)
}

func TestAStepThatSucceedsAgainEndsItsTrouble(t *testing.T) {
	b := newBench(t, 19*time.Second)
	_ = b.run(b.step("a", func(n int) (bool, error) {
		if n == 1 {
			return false, errors.New("no store")
		}
		return false, nil
	}))
	b.expect("troubles", b.troubles, "a: no store", "a: <nil>")
}

func TestTheEndOfTheLeadershipEndsTheKeeper(t *testing.T) {
	b := newBench(t, time.Hour)
	ended := fmt.Errorf("carry: %w", journal.ErrEnded)
	err := b.run(b.step("a", func(int) (bool, error) { return false, ended }), b.step("b", quiet))
	b.expect("runs", b.ran, "a 0")
	if !errors.Is(err, journal.ErrEnded) || len(b.troubles) > 0 {
		t.Errorf("ended with %v, troubles %v", err, b.troubles)
	}
}

// TestAWaitingMergeHoldsUpNeitherRetentionNorDeletion has a merge that waits for an idle
// journal for good.
func TestAWaitingMergeHoldsUpNeitherRetentionNorDeletion(t *testing.T) {
	ran := make(chan string, 100)
	step := func(name string) Run {
		return func(context.Context) (bool, error) { ran <- name; return false, nil }
	}
	waits := func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	all := Steps{Expire: step("expire"), Drop: step("drop"), Merge: waits, Compact: step("compact"), Release: step("release"), Delete: step("delete"), Pages: step("pages")}
	for _, steps := range Apart(all) {
		k := Start(Options{Steps: steps, Clock: SystemClock{}, Pause: time.Hour, Log: slog.New(slog.DiscardHandler)})
		defer k.Close()
	}
	got := []string{<-ran, <-ran, <-ran, <-ran}
	slices.Sort(got)
	if !slices.Equal(got, []string{"delete", "drop", "expire", "pages"}) {
		t.Errorf("ran %v", got)
	}
}

func TestNothingRunsWhileItIsNotEnabled(t *testing.T) {
	b := newBench(t, time.Minute)
	b.disabled = true
	_ = b.run(b.step("a", quiet))
	b.expect("runs", b.ran)
}

func TestCloseWaitsForTheStepThatRuns(t *testing.T) {
	running, returned := make(chan bool), false
	k := Start(Options{Clock: SystemClock{}, Log: slog.New(slog.DiscardHandler), Steps: []Step{{Name: "a", Run: func(ctx context.Context) (bool, error) {
		running <- true
		<-ctx.Done()
		returned = true
		return true, ctx.Err()
	}}}})
	<-running
	if k.Close(); !returned {
		t.Error("closed before the step returned")
	}
	sleeping := Start(Options{Clock: SystemClock{}, Log: slog.New(slog.DiscardHandler)})
	sleeping.Close()
}
