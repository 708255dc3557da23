package sim

import (
	"context"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
)

// Owner is a journal.Owner in a process, against the simulated store: it is the Env
// of its Owner.
type Owner struct {
	*journal.Owner
	executor

	wake  time.Time // asked for last; zero: never
	armed time.Time // of the event that is under way for it; zero: there is none
}

// NewOwner prepares an Owner. A Machine gets it before Start.
func NewOwner(p *Process, s *Store, opt journal.OwnerOptions) *Owner {
	opt.Log = slog.New(slog.DiscardHandler)
	o := &Owner{executor: newExecutor(p, s, opt.Journal.Chain.Journal)}
	o.Owner = journal.NewOwner(opt, o)
	o.deliver = o.Handle
	return o
}

// Start begins, for a Machine. That it refuses an object fails the world.
func (o *Owner) Start(m journal.Machine) { o.Owner.Start(strict{m, o.p}) }

// strict is a Machine in whose simulation each object must be good.
type strict struct {
	journal.Machine
	p *Process
}

func (s strict) Apply(o *journal.Object, own bool) error {
	err := s.Machine.Apply(o, own)
	if err != nil {
		s.p.World.Fail("%s applies seq %d: %w", s.p.Name, o.Footer.Header.Seq, err)
	}
	return err
}

// Now is the virtual time.
func (o *Owner) Now() time.Time { return o.p.World.Now() }

// WakeAt sets the timer. One event at most is under way for it: one that comes too
// early is sent on.
func (o *Owner) WakeAt(at time.Time) {
	o.wake = at
	if at.IsZero() || !o.armed.IsZero() && !o.armed.After(at) {
		return
	}
	o.arm()
}

func (o *Owner) arm() {
	at := o.wake
	o.armed = at
	o.p.After(at.Sub(o.Now()), "wake", func() {
		switch {
		case !o.armed.Equal(at): // an earlier one was under way since
		case o.wake.IsZero():
			o.armed = time.Time{}
		case o.wake.After(o.Now()):
			o.arm()
		default:
			o.armed = time.Time{}
			o.Wake()
		}
	})
}

// Go runs work in the process, with time passing between any two of its requests.
func (o *Owner) Go(_ time.Duration, work func(context.Context, objstore.Store), done func()) {
	o.p.After(0, "background", func() {
		o.p.Go(o.s, func(s objstore.Store) { work(context.Background(), s) }, func() { o.Do(done) })
	})
}

// Follow starts the follower of a journal in a process. It looks about every pause;
// ended gets the reason for its end.
func Follow(p *Process, s *Store, cfg journal.Config, apply func(*journal.Object) error, pause time.Duration, ended func(error)) *Owner {
	o := NewOwner(p, s, journal.OwnerOptions{Journal: cfg})
	pace := journal.NewPace(func() time.Duration { return pause })
	o.Start(following{journal.NewFollowing(o.Owner, apply, pace), ended})
	return o
}

// following reports its end.
type following struct {
	*journal.Following
	ended func(error)
}

func (f following) Ended(err error) { f.ended(err) }
