package clocks

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// world is a node and a store with a clock, or with dated objects.
type world struct {
	objstore.Store
	t      *testing.T
	now    time.Time // of the node
	up     time.Duration
	store  time.Time // of the store; zero: it has no clock
	names  uint64
	newest time.Time
	proofs int
	quiet  bool // the proof asks the store nothing
	slow   time.Duration
	reads  int
	judged []error
	ahead  time.Duration
	failed error
}

func (w *world) StoreTime() (time.Time, uint64) { return w.store, w.names }
func (w *world) NewestModified() time.Time      { return w.newest }
func (w *world) read(context.Context) error     { w.reads++; w.answer(); return nil }
func (w *world) onJudged(ahead time.Duration, err error) {
	w.ahead, w.judged = ahead, append(w.judged, err)
}
func (w *world) answer() {
	if !w.store.IsZero() {
		w.names++
	}
}

func (w *world) prove(context.Context) error {
	w.proofs++
	if !w.quiet {
		w.answer()
	}
	w.now, w.up = w.now.Add(w.slow), w.up+w.slow
	return w.failed
}

func (w *world) clocks() *Clocks {
	return New(Options{
		Store: w, Prove: w.prove, Read: w.read, Now: func() time.Time { return w.now },
		Uptime: func() time.Duration { return w.up }, OnJudged: w.onJudged,
	})
}

func TestClocksOfTheNodeAndTheStoreMustAgree(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration
		slow  time.Duration
		want  error
	}{
		"equal":           {0, 0, nil},
		"a little ahead":  {4 * time.Minute, 0, nil},
		"a little behind": {-4 * time.Minute, 0, nil},
		"ahead":           {6 * time.Minute, 0, ErrWrong},
		"behind":          {-6 * time.Minute, 0, ErrWrong},
		"a year ahead":    {365 * 24 * time.Hour, 0, ErrWrong},
		"a year behind":   {-365 * 24 * time.Hour, 0, ErrWrong},
		"a slow proof":    {0, 20 * time.Minute, nil},
		"ahead and slow":  {6 * time.Minute, 20 * time.Minute, ErrWrong},
	} {
		for _, quiet := range []bool{false, true} {
			w := &world{t: t, now: noon.Add(c.ahead), store: noon, slow: c.slow, quiet: quiet}
			now, err := w.clocks().Round(t.Context())
			if !errors.Is(err, c.want) || err == nil && !now.Equal(w.now) || err != nil && !now.IsZero() {
				t.Errorf("%s: %v, %v", name, now, err)
			}
			if len(w.judged) != 1 || !errors.Is(w.judged[0], c.want) || w.proofs != 1 || quiet != (w.reads == 1) {
				t.Errorf("%s: judged %v with %d proofs, %d reads", name, w.judged, w.proofs, w.reads)
			}
		}
	}
}

func TestNothingIsJudgedWithoutAProof(t *testing.T) {
	w := &world{t: t, now: noon, store: noon, failed: errors.New("no answer")}
	if now, err := w.clocks().Round(t.Context()); !errors.Is(err, w.failed) || !now.IsZero() || len(w.judged) != 0 {
		t.Errorf("%v, %v", now, err)
	}
}

func TestAtAStoreWithoutAClockTheNodesIsBelievedInTime(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		newest time.Time
		up     time.Duration
		want   error
	}{
		"bucket in use":            {noon.Add(-time.Hour), time.Minute, nil},
		"idle for three days":      {noon.Add(-3 * day), time.Minute, ErrTooEarly},
		"idle, but up for an hour": {noon.Add(-3 * day), time.Hour, nil},
		"nothing old":              {time.Time{}, time.Minute, ErrTooEarly},
		"nothing old, up":          {time.Time{}, time.Hour, nil},
		"clock a year ahead":       {noon.Add(-365 * day), time.Minute, ErrTooEarly},
		"clock a year behind":      {noon.Add(365 * day), 2 * time.Hour, ErrWrong},
	} {
		w := &world{t: t, now: noon, newest: c.newest, up: c.up}
		if now, err := w.clocks().Round(t.Context()); !errors.Is(err, c.want) || err == nil && !now.Equal(noon) {
			t.Errorf("%s: %v, %v", name, now, err)
		}
	}
}

func TestTimeNeverGoesBackWithinAProcess(t *testing.T) {
	w := &world{t: t, now: noon, store: noon}
	c := w.clocks()
	for _, step := range []struct {
		ahead time.Duration
		want  time.Time
	}{{0, noon}, {2 * time.Minute, noon.Add(2 * time.Minute)}, {-3 * time.Minute, noon.Add(2 * time.Minute)}} {
		w.now = noon.Add(step.ahead)
		if now, err := c.Round(t.Context()); err != nil || !now.Equal(step.want) {
			t.Errorf("%v ahead: %v, %v", step.ahead, now, err)
		}
	}
}

func TestAJumpOfTheClockIsOfNoAccountAtAStoreWithoutOne(t *testing.T) {
	w := &world{t: t, now: noon, newest: noon, up: time.Minute}
	c := w.clocks()
	w.now, w.up = noon.Add(365*24*time.Hour), 2*time.Hour
	if now, err := c.Round(t.Context()); err != nil || !now.Equal(noon.Add(2*time.Hour-time.Minute)) {
		t.Errorf("%v, %v", now, err)
	}
	w.now = noon.Add(90 * time.Minute) // it was set right, to less
	if now, err := c.Round(t.Context()); err != nil || !now.Equal(noon.Add(2*time.Hour-time.Minute)) {
		t.Errorf("%v, %v", now, err)
	}
}
