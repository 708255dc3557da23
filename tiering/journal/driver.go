package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Hooks are how an owner hears of its journal. All are called from within
// Start, Handle and Propose. They must not call the Driver back, but for Propose
// in Led. Apply and Ended are needed; of the others, one that is nil is not called.
type Hooks struct {
	// Apply takes the next valid object; own reports whether this leadership
	// proposed it. An error ends the following of the journal.
	Apply func(o *Object, own bool) error
	// Led: Propose may be called.
	Led func(epoch uint32)
	// Deposed: the leadership, or the way to it, is over because of err, which is nil if it
	// was given up. The Driver reads on after a Poke.
	Deposed func(err error)
	// AtHead: a follower has applied all there was.
	AtHead func()
	// Stalled: the outcome of seq has been unknown for long.
	Stalled func(seq uint64)
	// Skip: answer with Skipped; see the action. It is needed if the Config says Skips.
	Skip func(token uint64)
	// Ended: nothing more happens, because of err.
	Ended func(err error)
}

// Executor carries out the requests and pauses that a Core asks for.
type Executor interface {
	// Execute starts a Put, Get, GetFloor, LookBeyond or Wait and returns at once.
	// The answer, an Event, goes to Driver.Handle later: never from within Execute.
	// A request has the time that Limit gives it.
	Execute(a Action)
}

// Driver steps a Core: it hands requests and pauses to its Executor, everything
// else to its hooks, and answers proofs. It starts no goroutine and has no channel.
// One goroutine owns it, but for Holds.
type Driver struct {
	core     *Core
	exec     Executor
	hooks    Hooks
	standing Standing
	now      func() time.Time
	log      *slog.Logger

	applying bool          // the hook Apply runs
	provers  []func(error) // not answered yet, oldest first
	answered uint64        // proofs answered before provers[0]

	failing    time.Time // since when requests have failed, zero: the last succeeded
	logged     time.Time // when that was last logged
	putFailing bool      // a PUT was among them: only a commit ends that
}

// NewDriver prepares to follow, and if cfg says so to lead, a journal.
func NewDriver(cfg Config, hooks Hooks, exec Executor, now func() time.Time, log *slog.Logger) *Driver {
	return &Driver{core: NewCore(cfg), exec: exec, hooks: hooks, now: now, log: log.With("journal", cfg.Chain.Journal)}
}

// Core is the state machine, for the owner to ask.
func (d *Driver) Core() *Core { return d.core }

// Start begins.
func (d *Driver) Start() { d.perform(d.core.Start()) }

// Handle takes one event.
func (d *Driver) Handle(ev Event) {
	if put, is := ev.(PutDone); is && put.Err != nil && !errors.Is(put.Err, objstore.ErrExists) {
		d.putFailing = true
	}
	d.perform(d.core.Step(ev))
}

// Stand has a follower lead; see the event.
func (d *Driver) Stand(how Stand) { d.Handle(how) }

// Resign ends a leadership, or the way to it, and nothing else. err may be nil.
func (d *Driver) Resign(err error) { d.Handle(Resign{Err: err}) }

// HandOver ends a leadership with an entry for its successor; see the event.
func (d *Driver) HandOver(e End) { d.Handle(HandOver{End: e}) }

// TakeBack has a leadership that is handed over go on; see the event.
func (d *Driver) TakeBack() { d.Handle(TakeBack{}) }

// Poke makes a follower look for more.
func (d *Driver) Poke() { d.Handle(Poke{}) }

// Prove calls onProved once, at once or from within a later call of the Driver. The
// error is nil when every object that was committed before Prove has been applied.
// ErrEnded means that the journal is not followed any more, or that a leadership that was to
// give the answer is over. Any other error means that nothing is known. One look at the
// store answers all questions that wait. onProved may ask again.
func (d *Driver) Prove(onProved func(error)) {
	asked := d.now()
	d.provers = append(d.provers, func(err error) {
		if err == nil && d.core.Stands() {
			d.standing.Proved(asked)
		}
		onProved(err)
	})
	d.Handle(Prove{})
}

// Confirm calls onConfirmed once, as Prove does. The error is nil if this leader is
// known to have led within StandFor: by a commit, by a proof, or by one that is asked
// for now. ErrEnded means that it leads no more, any other that nothing is known.
func (d *Driver) Confirm(onConfirmed func(error)) {
	if !d.core.Stands() {
		onConfirmed(ErrEnded)
		return
	}
	if d.standing.Confirm(d.now(), onConfirmed) {
		d.proveStanding()
	}
}

func (d *Driver) proveStanding() {
	d.Prove(func(err error) {
		if d.standing.Answer(d.now(), err) {
			d.proveStanding()
		}
	})
}

// End ends the following of the journal from outside. Questions that wait get
// ErrEnded, and the hook Ended gets err. After the end it does nothing.
func (d *Driver) End(err error) {
	if err == nil {
		err = errClosed
	}
	d.core.end(err)
	d.perform(d.core.take())
}

var errClosed = errors.New("closed")

// Holds reports whether Confirm would answer nil without a look at the store. It may
// be called from any goroutine.
func (d *Driver) Holds() bool { return d.standing.Holds(d.now()) }

// Propose sends a segment; see Core.Propose.
func (d *Driver) Propose(o *Object, bytes segment.Encoded) { d.perform(d.core.Propose(o, bytes)) }

// perform carries out actions in their order. A call of the Driver while an object is
// applied would put others between them: that is a bug of the hook.
func (d *Driver) perform(actions []Action) {
	if d.applying {
		panic("journal: the hook Apply calls its Driver")
	}
	for i, a := range actions {
		switch a := a.(type) {
		case Apply:
			if err := d.apply(a); err != nil {
				abandon(actions[i+1:])
				d.End(err)
				return
			}
		case Proved:
			d.succeeded()
			d.answer(a.Through, nil)
		case ProofFailed:
			d.answer(a.Through, a.Err)
		case Trouble:
			d.trouble(a.Err)
		case Put:
			d.standing.Sent(a.Seq, d.now())
			d.exec.Execute(a)
		case Get, GetFloor, LookBeyond, Wait:
			d.exec.Execute(a)
		default:
			d.notify(a)
		}
	}
}

// abandon releases the bytes of Puts that will not be carried out.
func abandon(actions []Action) {
	for _, a := range actions {
		if put, is := a.(Put); is {
			put.Body().Done()
		}
	}
}

func (d *Driver) apply(a Apply) error {
	if a.Own {
		d.putFailing = false
		d.standing.Committed(a.Object.Footer.Header.Seq)
	}
	d.applying = true
	err := d.hooks.Apply(a.Object, a.Own)
	d.applying = false
	if err != nil {
		return err
	}
	d.succeeded()
	return nil
}

// notify calls the hook that an action is for.
func (d *Driver) notify(a Action) {
	switch a := a.(type) {
	case Led:
		d.putFailing = false
		d.succeeded()
		d.log.Info("leading journal", "epoch", a.Epoch)
		if d.hooks.Led != nil {
			d.hooks.Led(a.Epoch)
		}
	case AtHead:
		d.succeeded()
		if d.hooks.AtHead != nil {
			d.hooks.AtHead()
		}
	case Stalled:
		d.log.Warn("the bucket does not answer a write to the journal, trying again", "seq", a.Seq)
		if d.hooks.Stalled != nil {
			d.hooks.Stalled(a.Seq)
		}
	case Deposed:
		d.putFailing = false
		d.standing.End()
		if a.Err != nil {
			d.log.Warn("leading the journal no more", "error", a.Err)
		}
		if d.hooks.Deposed != nil {
			d.hooks.Deposed(a.Err)
		}
	case Skip:
		d.hooks.Skip(a.Token)
	case Ended:
		d.standing.End()
		d.answerRest(a.Err)
		d.hooks.Ended(a.Err)
	default:
		panic(fmt.Sprintf("journal: unknown action %T", a))
	}
}

// remindEvery is how often requests that go on failing are logged again.
const remindEvery = time.Minute

// trouble is logged and nothing more: the Core goes on trying.
func (d *Driver) trouble(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	now := d.now()
	if d.failing.IsZero() {
		d.failing, d.logged = now, time.Time{}
	}
	if now.Sub(d.logged) >= remindEvery {
		d.logged = now
		d.log.Warn("journal request failed, trying again", "error", err, "since", d.failing.UTC().Format(time.RFC3339))
	}
}

// succeeded logs the end of a trouble. While a PUT fails, a read is no end.
func (d *Driver) succeeded() {
	if d.failing.IsZero() || d.putFailing {
		return
	}
	d.log.Info("journal requests succeed again", "after", d.now().Sub(d.failing).Round(time.Millisecond))
	d.failing = time.Time{}
}

// answerRest answers the proofs whose answer is lost: an object before it in the same
// actions could not be applied.
func (d *Driver) answerRest(reason error) {
	if n := len(d.provers); n > 0 {
		d.answer(d.answered+uint64(n), fmt.Errorf("%w: %w", ErrEnded, reason))
	}
}

func (d *Driver) answer(through uint64, err error) {
	n := int(through - d.answered)
	answer := d.provers[:n:n]
	d.provers, d.answered = d.provers[n:], through
	for _, onProved := range answer {
		onProved(err)
	}
}
