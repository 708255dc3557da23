package journal

import (
	"context"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Following is the Machine of a journal that is only read. It looks for more when its
// Pace says so.
type Following struct {
	owner  *Owner
	apply  func(*Object) error
	pace   *Pace
	atHead bool
}

// NewFollowing is the Machine for an Owner. apply gets each object.
func NewFollowing(o *Owner, apply func(*Object) error, pace *Pace) *Following {
	now := o.Now()
	pace.Moved(now)
	pace.Looked(now)
	return &Following{owner: o, apply: apply, pace: pace}
}

// Apply implements Machine.
func (f *Following) Apply(o *Object, _ bool) error {
	f.pace.Moved(f.owner.Now())
	return f.apply(o)
}

// Progress implements Machine.
func (f *Following) Progress() (next time.Time, err error) {
	if now := f.owner.Now(); !f.pace.Due().After(now) {
		f.pace.Looked(now)
		f.owner.Poke()
	}
	return f.pace.Due(), nil
}

// AtHead implements Machine.
func (f *Following) AtHead() { f.atHead = true }

// Ready implements Machine.
func (f *Following) Ready() bool { return f.atHead }

// Ended implements Machine.
func (f *Following) Ended(error) {}

// Led implements Machine. A journal that is only read is never led.
func (f *Following) Led(uint32) {}

// Deposed implements Machine.
func (f *Following) Deposed(err error) error { return err }

// Stalled implements Machine.
func (f *Following) Stalled(uint64) {}

// PlanCheckpoint implements Machine.
func (f *Following) PlanCheckpoint(Chain, History) CheckpointJob { return CheckpointJob{} }

// Checkpointed implements Machine.
func (f *Following) Checkpointed(CheckpointResult) bool { return false }

// Follower applies a journal's objects as they are committed, on a goroutine of
// its own. It looks when it is poked, when a proof is asked for, and as a
// backstop whenever its Pace says so.
type Follower struct{ loop *Loop[struct{}] }

// Follow starts. cfg needs a Chain; apply is called on the Follower's goroutine.
func Follow(store objstore.Store, cfg Config, apply func(*Object) error, pace *Pace, log *slog.Logger) *Follower {
	cfg.Lead = false
	f := &Follower{NewLoop[struct{}](store, OwnerOptions{Journal: cfg, Log: log})}
	f.loop.Start(NewFollowing(f.loop.Owner(), apply, pace), Intake[struct{}]{Signal: pace.Changed})
	return f
}

// Ready is closed when all that the journal held at the start has been applied.
func (f *Follower) Ready() <-chan struct{} { return f.loop.Ready() }

// Done is closed when following has ended; Err is the reason.
func (f *Follower) Done() <-chan struct{} { return f.loop.Done() }

// Err is why following ended, once Done is closed; nil if by Close.
func (f *Follower) Err() error { return f.loop.Err() }

// Poke makes it look for more now.
func (f *Follower) Poke() { f.loop.Poke() }

// Prove is Driver.Prove; it waits for the answer.
func (f *Follower) Prove(ctx context.Context) error { return f.loop.Prove(ctx) }

// Close stops following and waits.
func (f *Follower) Close() { f.loop.Close() }
