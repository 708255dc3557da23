package journal

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// Hooks is how an owner learns what its journal does. All are called on the
// owner's goroutine, from within Start, Handle and Propose; they must not call
// the Driver back, but for Propose in Led.
type Hooks struct {
	// Apply takes the next valid object; own tells that this leadership
	// proposed it. An error ends the following of the journal.
	Apply func(o *Object, own bool) error
	// Led tells that Propose may be called.
	Led func(epoch uint32)
	// AtHead tells a follower that it has applied all there was.
	AtHead func()
	// Stalled tells that the outcome of seq has been unknown for long.
	Stalled func(seq uint64)
	// Ended tells that nothing more happens, and why.
	Ended func(err error)
}

// Driver runs a Core against a store. Its owner receives from Events in its own
// loop and passes each to Handle; Prove, Confirm and Poke may be called from
// anywhere, everything else by the owner only. Close ends and waits for all requests.
type Driver struct {
	core     *Core
	runner   *runner
	hooks    Hooks
	standing Standing
	now      func() time.Time
	log      *slog.Logger

	provers  []func(error) // not answered yet, oldest first
	answered uint64        // proofs answered before provers[0]

	failing    time.Time // since when requests have failed, zero: the last succeeded
	logged     time.Time // when that was last logged
	putFailing bool      // a PUT was among them: only a commit ends that

	closeOnce sync.Once
	closed    chan struct{}
}

// proveEvent carries a caller of Prove, or of Confirm, to the owner's loop.
type proveEvent struct {
	standing bool // Confirm
	reply    chan error
}

func (proveEvent) isEvent() {}

// NewDriver prepares to follow, and if cfg says so to lead, a journal of store.
func NewDriver(store objstore.Store, cfg Config, hooks Hooks, log *slog.Logger) *Driver {
	return &Driver{
		core: NewCore(cfg), runner: newRunner(store, cfg.Chain.Journal), hooks: hooks, now: time.Now,
		log: log.With("journal", cfg.Chain.Journal), closed: make(chan struct{}),
	}
}

// Core is the state machine, for the owner to ask.
func (d *Driver) Core() *Core { return d.core }

// Events is what the owner passes to Handle.
func (d *Driver) Events() <-chan Event { return d.runner.events }

// Start begins.
func (d *Driver) Start() { d.perform(d.core.Start()) }

// Handle takes one event.
func (d *Driver) Handle(ev Event) {
	if put, is := ev.(PutDone); is && put.Err != nil && !errors.Is(put.Err, objstore.ErrExists) {
		d.putFailing = true
	}
	if p, ok := ev.(proveEvent); ok {
		d.answerTo(p)
		return
	}
	d.perform(d.core.Step(ev))
}

func (d *Driver) answerTo(p proveEvent) {
	reply := func(err error) { p.reply <- err }
	switch {
	case !p.standing:
		d.ProveAndTell(reply)
	case d.standing.Confirm(d.now(), reply):
		d.ProveAndTell(func(err error) { d.standing.Answer(d.now(), err) })
	}
}

// Propose sends a segment; see Core.Propose.
func (d *Driver) Propose(o *Object, data []byte) { d.perform(d.core.Propose(o, data)) }

// Poke makes a follower look for more soon. It is a hint, dropped where many
// events wait already.
func (d *Driver) Poke() {
	select {
	case d.runner.events <- Poke{}:
	default:
	}
}

// ProveAndTell is Prove for the owner, who cannot wait: tell is called from within
// Handle, once.
func (d *Driver) ProveAndTell(tell func(error)) {
	asked := d.now()
	d.provers = append(d.provers, func(err error) {
		if err == nil {
			d.standing.Proved(asked)
		}
		tell(err)
	})
	d.perform(d.core.Step(Prove{}))
}

// Prove returns nil once every object that was committed before the call has
// been applied. It asks the store, once for all callers that wait; any error
// means that nothing is known, ErrEnded that the journal is not followed any more.
func (d *Driver) Prove(ctx context.Context) error { return d.ask(ctx, false) }

// Confirm returns nil if this leader is known to have led within StandFor, by a
// commit or a proof, or by a proof that it asks for now. ErrEnded means that it leads
// no more, any other error that nothing is known.
func (d *Driver) Confirm(ctx context.Context) error {
	if d.standing.Holds(d.now()) {
		return nil
	}
	return d.ask(ctx, true)
}

func (d *Driver) ask(ctx context.Context, standing bool) error {
	p := proveEvent{standing: standing, reply: make(chan error, 1)}
	select {
	case d.runner.events <- p:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closed:
		return ErrEnded
	}
	select {
	case err := <-p.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closed:
		return ErrEnded
	}
}

// Close ends all requests, whatever their outcome, and waits for them.
func (d *Driver) Close() {
	d.closeOnce.Do(func() {
		close(d.closed)
		d.runner.close()
	})
}

func (d *Driver) perform(actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Apply:
			if a.Own {
				d.putFailing = false
				d.standing.Committed(a.Object.Footer.Header.Seq)
			}
			if err := d.hooks.Apply(a.Object, a.Own); err != nil {
				d.core.end(err)
				d.perform(d.core.take())
				return
			}
			d.succeeded()
		case Led:
			d.putFailing = false
			d.succeeded()
			d.log.Info("leading journal", "epoch", a.Epoch)
			d.hooks.Led(a.Epoch)
		case AtHead:
			d.succeeded()
			d.hooks.AtHead()
		case Stalled:
			d.log.Warn("the bucket does not answer a write to the journal, trying again", "seq", a.Seq)
			d.hooks.Stalled(a.Seq)
		case Trouble:
			d.trouble(a.Err)
		case Proved:
			d.succeeded()
			d.answer(a.Through, nil)
		case ProofFailed:
			d.answer(a.Through, a.Err)
		case Ended:
			d.standing.End()
			d.hooks.Ended(a.Err)
		case Put:
			d.standing.Sent(a.Seq, d.now())
			d.runner.do(a)
		default:
			d.runner.do(a)
		}
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

// succeeded logs the end of a trouble. While a PUT fails, what is read is no end.
func (d *Driver) succeeded() {
	if d.failing.IsZero() || d.putFailing {
		return
	}
	d.log.Info("journal requests succeed again", "after", d.now().Sub(d.failing).Round(time.Millisecond))
	d.failing = time.Time{}
}

func (d *Driver) answer(through uint64, err error) {
	n := int(through - d.answered)
	tell := d.provers[:n:n]
	d.provers, d.answered = d.provers[n:], through
	for _, f := range tell {
		f(err)
	}
}
