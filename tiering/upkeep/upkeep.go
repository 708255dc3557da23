// Package upkeep runs the work that keeps the archive of a journal tidy, next to the
// leader of that journal: some Keepers for each.
//
// It owns which steps run next to each other and which in turn, the pauses between them, and
// the trials after a failure. It promises that the steps of a Keeper run one after the other,
// from one goroutine, so each plans on the entries that the steps before it have committed. A step that fails is
// tried again after a pause that grows, and keeps no other step from its work. When the
// leadership ends, so does the Keeper. Close waits until nothing runs any more.
//
// It never decides what is merged, expired or deleted: the steps do.
package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// Journal is the journal that is led here; *ingest.Leader has it.
type Journal interface {
	// Carry commits entries in order, in one object that is written anyway, or after long
	// idleness in one of its own. nil means that the object is applied. An error that is
	// journal.ErrEnded means that the leadership is over. After it, or after that of ctx,
	// the entries may be committed or not.
	Carry(ctx context.Context, entries []segment.Entry) error
	// Prove returns nil once all that was committed before the call is applied.
	Prove(ctx context.Context) error
}

// Clock is time. Sleep returns early with the error of ctx when that ends.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// Step is one kind of work. Run does a bounded part of it, as long as a minute, and
// reports whether there may be more to do at once. An error that is journal.ErrEnded ends
// the Keeper.
type Step struct {
	Name string
	Run  Run
}

// Run is the work of a Step.
type Run = func(ctx context.Context) (again bool, err error)

// Steps are the work on one journal.
type Steps struct{ Expire, Drop, Merge, Compact, Release, Delete, Pages Run }

// Apart returns the steps of the Keepers of one journal. Entries may wait for long in an idle
// journal, and a Keeper with them: merges must hold up neither retention nor deletion. Those
// that replace and free extents plan on each other's entries, so they share a Keeper. The
// others need not. Records are deleted, and partitions dropped, while a Result is under way
// (tiering/journal/PROTOCOL.md, rule 19). A DELETE may come at any time after its Release
// (rule 21).
func Apart(s Steps) [][]Step {
	return [][]Step{
		{{"expire", s.Expire}},
		{{"drop", s.Drop}},
		{{"merge", s.Merge}, {"compact", s.Compact}, {"release", s.Release}},
		{{"delete", s.Delete}, {"pages", s.Pages}},
	}
}

// Options configure a Keeper. Fields without a default are required.
type Options struct {
	Steps []Step // in their order
	Clock Clock
	// Enabled reports whether the steps may run now. It is asked before each of them, and
	// may be left out.
	Enabled func() bool
	// OnTrouble is called with each failure of a step, and with nil when the step has
	// succeeded again. It must not block, and may be left out.
	OnTrouble func(step string, err error)
	Pause     time.Duration // between two rounds with nothing more to do; default 10 s
	Log       *slog.Logger
}

// The pauses after the failures of a step in a row.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// Keeper runs the steps of one journal in turn.
type Keeper struct {
	opt    Options
	trials []trial // of the steps
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// trial is how a step fares.
type trial struct {
	pause time.Duration // after the last failure; 0: it did not fail
	next  time.Time     // before this it is not tried again
}

// Start begins to run the steps, until Close or until the leadership ends.
func Start(opt Options) *Keeper {
	k := New(opt)
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.done.Go(func() { _ = k.Run(ctx) })
	return k
}

// New is a Keeper for a caller that calls Run.
func New(opt Options) *Keeper {
	if opt.Pause == 0 {
		opt.Pause = 10 * time.Second
	}
	if opt.Enabled == nil {
		opt.Enabled = func() bool { return true }
	}
	if opt.OnTrouble == nil {
		opt.OnTrouble = func(string, error) {}
	}
	return &Keeper{opt: opt, trials: make([]trial, len(opt.Steps))}
}

// Close ends the Keeper of a Start, and waits until its step has returned.
func (k *Keeper) Close() {
	k.cancel()
	k.done.Wait()
}

// Run runs rounds of the steps until the leadership or ctx ends, and returns why.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		again, err := k.round(ctx)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		if err := k.opt.Clock.Sleep(ctx, k.opt.Pause); err != nil {
			return err
		}
	}
}

// round runs each step once that may run. again reports that a step has more to do.
func (k *Keeper) round(ctx context.Context) (again bool, err error) {
	for i := range k.opt.Steps {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if !k.opt.Enabled() || k.opt.Clock.Now().Before(k.trials[i].next) {
			continue
		}
		more, err := k.opt.Steps[i].Run(ctx)
		if ended := k.note(ctx, i, err); ended != nil {
			return false, ended
		}
		again = again || more && err == nil
	}
	return again, nil
}

// note notes the outcome of a step. It returns an error if that ends the Keeper.
func (k *Keeper) note(ctx context.Context, i int, err error) error {
	t, name := &k.trials[i], k.opt.Steps[i].Name
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, journal.ErrEnded):
		return err
	case err == nil:
		if t.pause > 0 {
			k.opt.OnTrouble(name, nil)
		}
		*t = trial{}
		return nil
	}
	t.pause = min(max(2*t.pause, firstRetry), lastRetry)
	t.next = k.opt.Clock.Now().Add(t.pause)
	k.opt.Log.Warn("a step of tiering failed and is tried again", "step", name, "in", t.pause, "err", err)
	k.opt.OnTrouble(name, err)
	return nil
}

// SystemClock is the Clock of a process.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
