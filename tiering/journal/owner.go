package journal

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Machine is the state machine of a journal: the sum of its objects and, of a leader,
// the side that appends. An Owner steps it, and is the only way by which it reaches its
// journal. It starts no goroutine and never waits.
type Machine interface {
	// Apply takes the next valid object; own reports whether this leadership proposed
	// it. An error ends the Owner. It must not call the Owner.
	Apply(o *Object, own bool) error
	// Led: the journal is led, and everything below the fence is applied.
	Led(epoch uint32)
	// Deposed: the leadership, or the way to it, is over because of err, which is nil if it
	// was given up. Requests that wait have an unknown outcome. The Owner follows on, or
	// ends with the error that this returns.
	Deposed(err error) error
	// AtHead: a follower has applied all there was.
	AtHead()
	// Stalled: the outcome of the own object of seq has been unknown for long.
	Stalled(seq uint64)
	// Progress does all that has become possible or due. It follows every event. If
	// nothing happens until next it is called again then; zero is never. An error ends
	// the Owner.
	Progress() (next time.Time, err error)
	// Ready reports whether the start is over.
	Ready() bool
	// PlanCheckpoint gives the parts of a checkpoint of the present state.
	PlanCheckpoint(chain Chain, history History) CheckpointJob
	// Checkpointed takes the outcome, with the plan of a floor if there is one. hurry
	// makes the next checkpoint due at the next object.
	Checkpointed(res CheckpointResult) (hurry bool)
	// Ended: the Owner has ended, because of err, or because it was closed. Requests
	// that wait have an unknown outcome.
	Ended(err error)
}

// Env is the place where an Owner lives: goroutines and a bucket in production, a
// process of a simulation in tests. None of its methods waits or calls the Owner back.
type Env interface {
	// Executor's answers go to Owner.Handle.
	Executor
	Now() time.Time
	// WakeAt has Owner.Wake called at a time; it replaces the time before. Zero is never.
	WakeAt(at time.Time)
	// Go runs work next to the owner for at most limit, with the store of the journal.
	// Then it has done run by Owner.Do.
	Go(limit time.Duration, work func(context.Context, objstore.Store), done func())
}

// OwnerOptions says which journal an Owner follows or leads. Journal and Log are needed.
type OwnerOptions struct {
	Journal     Config
	Checkpoints *CheckpointerOptions // nil: none are written
	// Skip has the journal's state machine take the state of a newer checkpoint, which names
	// no index objects, when the floor has passed its own. An error ends the Owner. nil: the
	// Owner ends with ErrBelowFloor.
	Skip func(c *Checkpoint) error
	Log  *slog.Logger
}

// Owner follows or leads one journal for a Machine. After each event it lets the
// Machine progress, sets the time of the next call, and writes a checkpoint if one is
// due. It starts no goroutine and has no channel. One goroutine owns it, but for Holds.
//
// A Machine sees its journal through the Owner alone. Life is one that follows, leads, and
// follows again.
type Owner struct {
	env         Env
	log         *slog.Logger
	driver      *Driver
	machine     Machine
	checkpoints *Checkpointer // nil: none are written
	skips       func(c *Checkpoint) error
	tenures     uint64 // leaderships, and ways to one, that are over
	deposed     bool   // in the present event

	ready    bool
	ended    bool
	finished bool // the Machine knows that it ended
	err      error
}

// NewOwner prepares to follow, and if opt.Journal says so to lead, a journal.
func NewOwner(opt OwnerOptions, env Env) *Owner {
	o := &Owner{env: env, log: opt.Log, skips: opt.Skip}
	opt.Journal.Skips = opt.Skip != nil
	o.driver = NewDriver(opt.Journal, Hooks{
		Apply:   o.apply,
		Led:     func(epoch uint32) { o.machine.Led(epoch) },
		Deposed: o.wasDeposed,
		AtHead:  func() { o.machine.AtHead() },
		Stalled: func(seq uint64) { o.machine.Stalled(seq) },
		Skip:    o.skip,
		Ended:   o.End,
	}, env, env.Now, opt.Log)
	if opt.Checkpoints != nil {
		o.checkpoints = NewCheckpointer(*opt.Checkpoints)
	}
	return o
}

func (o *Owner) apply(obj *Object, own bool) error {
	if o.checkpoints != nil {
		o.checkpoints.Applied(obj.Footer)
	}
	return o.machine.Apply(obj, own)
}

// wasDeposed ends all that belongs to one leadership.
func (o *Owner) wasDeposed(err error) {
	o.tenures++
	o.deposed = true
	if o.checkpoints != nil {
		o.checkpoints.Deposed()
	}
	if err := o.machine.Deposed(err); err != nil {
		o.End(err)
	}
}

// Stand has a follower lead; see Driver. It may come before Start.
func (o *Owner) Stand(how Stand) {
	if !o.ended {
		o.driver.Stand(how)
	}
}

// Resign ends a leadership, or the way to it; see Driver.
func (o *Owner) Resign(err error) {
	if !o.ended {
		o.driver.Resign(err)
	}
}

// HandOver ends a leadership with an entry for its successor; see Driver.
func (o *Owner) HandOver(e End) {
	if !o.ended {
		o.driver.HandOver(e)
	}
}

// TakeBack has a leadership that is handed over go on; see Driver.
func (o *Owner) TakeBack() {
	if !o.ended {
		o.driver.TakeBack()
	}
}

// Start begins, for a Machine.
func (o *Owner) Start(m Machine) {
	o.machine = m
	o.driver.Start()
	o.after()
}

// Handle takes an event.
func (o *Owner) Handle(ev Event) {
	if o.ended {
		return
	}
	o.driver.Handle(ev)
	o.after()
}

// Do runs f as an event of its own: something reached the Machine from outside. After
// the end nothing is run.
func (o *Owner) Do(f func()) {
	if o.ended {
		return
	}
	f()
	o.after()
}

// Wake lets the Machine progress: its time has come, or it was given something.
func (o *Owner) Wake() { o.after() }

// after follows every event.
func (o *Owner) after() {
	for again := true; again && !o.ended; again = o.deposed {
		if o.deposed {
			o.deposed = false
			o.driver.Poke()
		}
		next, err := o.machine.Progress()
		if err != nil {
			o.End(err)
		}
		o.ready = o.ready || o.machine.Ready()
		o.env.WakeAt(next)
		o.writeCheckpoint()
	}
	if o.ended && !o.finished {
		o.finished = true
		o.driver.End(o.err)
		o.machine.Ended(o.err)
		o.env.WakeAt(time.Time{})
	}
}

// writeCheckpoint bounds the number of objects that the next start has to read.
func (o *Owner) writeCheckpoint() {
	core := o.driver.Core()
	if o.checkpoints == nil || o.ended || !core.Leads() || !o.checkpoints.Due(core.Chain(), o.env.Now()) {
		return
	}
	job := o.machine.PlanCheckpoint(core.Checkpoint())
	o.checkpoints.Begin(&job)
	var res CheckpointResult
	tenure := o.tenures
	o.env.Go(checkpointLimit, func(ctx context.Context, store objstore.Store) {
		res = o.checkpoints.Write(ctx, store, job)
	}, func() { o.checkpointed(res, tenure) })
}

// checkpointed takes the outcome of a checkpoint. One of an earlier leadership says nothing:
// its plan for the floor rests on a journal that another leader has gone on with.
func (o *Owner) checkpointed(res CheckpointResult, tenure uint64) {
	if tenure != o.tenures {
		o.checkpoints.Dropped()
		return
	}
	switch err := o.checkpoints.Finished(res, o.log); {
	case errors.Is(err, ErrFenced):
		o.Resign(err)
		return
	case err != nil:
		o.End(err)
		return
	}
	if o.machine.Checkpointed(res) {
		o.checkpoints.Hurry()
	}
}

// End ends the Owner when the present event is over, because of err; nil means that it
// was asked to. Only the first call counts. Objects under way have an unknown outcome.
func (o *Owner) End(err error) {
	if !o.ended {
		o.ended, o.err = true, err
	}
}

// Ready reports whether the Machine has ever been ready.
func (o *Owner) Ready() bool { return o.ready }

// Ended reports whether the Owner has ended; Err is the reason.
func (o *Owner) Ended() bool { return o.ended }

// Err is the reason for the end, nil if it was asked for.
func (o *Owner) Err() error { return o.err }

// Core is the state machine of the journal itself, to be asked only.
func (o *Owner) Core() *Core { return o.driver.Core() }

// Now is the time.
func (o *Owner) Now() time.Time { return o.env.Now() }

// Room is Core.Room.
func (o *Owner) Room() bool { return o.driver.Core().Room() }

// Header is Core.Header.
func (o *Owner) Header() segment.Header { return o.driver.Core().Header() }

// History is Core.History.
func (o *Owner) History() *History { return o.driver.Core().History() }

// Propose is Driver.Propose.
func (o *Owner) Propose(obj *Object, bytes segment.Encoded) { o.driver.Propose(obj, bytes) }

// Poke is Driver.Poke.
func (o *Owner) Poke() { o.driver.Poke() }

// Prove is Driver.Prove.
func (o *Owner) Prove(onProved func(error)) { o.driver.Prove(onProved) }

// Confirm is Driver.Confirm.
func (o *Owner) Confirm(onConfirmed func(error)) { o.driver.Confirm(onConfirmed) }

// Holds is Driver.Holds.
func (o *Owner) Holds() bool { return o.driver.Holds() }
