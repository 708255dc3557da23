// Package sweep releases the objects of a journal that nothing names any more, and deletes
// released ones, and index objects that no floor keeps: three steps of a Keeper.
//
// It owns the choice of the objects, and of the time at which they are deleted. It promises:
//
//   - A Release is planned on the applied state alone. It names objects that no extent and
//     no intent names, and seqs of data objects that are valid by the rules of the chain.
//     An object that cannot be judged ends the judging there.
//
//   - Only objects that an applied entry lists are deleted, after their grace, and never
//     while there is a hold. Objects of the journal are deleted below the last floor but
//     one, of which the checkpoint was read and is good.
//
//   - A deletion counts when the store has answered for that very key. Objects are deleted
//     a second time a day later, as a create that was sent twice may land late.
//
//   - Index objects are removed when neither of the last two floors names them, and they are
//     older than the last but one. A listing shows which there are.
//
// It deletes neither fences, fillers, voids nor floors.
package sweep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Options configure a Releaser and a Deleter. Fields without a default are required.
type Options struct {
	Cluster segment.ID
	Journal uint32
	Store   objstore.Store
	State   *partlog.State
	// Carry commits entries, and returns nil once they are applied.
	Carry func(ctx context.Context, entries []segment.Entry) error
	// Page reads an index page.
	Page func(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error)
	// Now is the time of the node, for a first look.
	Now func() time.Time
	// Round returns the time for a round of deletions, as clocks.Clocks do.
	Round func(ctx context.Context) (time.Time, error)
	// Floor returns the seq below which objects of the journal may be deleted; 0: none. It
	// is that of the last floor but one, whose checkpoint was read and is good.
	Floor func(ctx context.Context) (uint64, error)
	// Kept returns which index objects of the journal stay: those from a seq on, and those of
	// which has is true. Seq 0 stands for all. Only a PageRemover needs it.
	Kept func(ctx context.Context) (from uint64, has func(segment.IndexName) bool, err error)
	// Pace waits until so many objects may be deleted. It may be left out.
	Pace func(ctx context.Context, objects int) error
	// Retains says that the bucket keeps the bytes of deleted objects. Then they are measured.
	Retains bool
	// OnHold is called with the holds that keep a round from deleting, and with none when
	// one is not kept. It may be left out.
	OnHold func(holds []segment.Hold)
	// OnLostPage is called when an index page is found lost, and with nil when it can be read
	// again or is needed no more. It may be left out.
	OnLostPage func(p LostPage, err error)
	Log        *slog.Logger
	// Sequential keeps a step from starting goroutines.
	Sequential bool

	// MergeGrace and UserGrace are how long garbage of a class stays; 0 is allowed.
	MergeGrace, UserGrace time.Duration
	// Again is how long after the first deletion of an object the second one is due.
	Again time.Duration // default a day
	// Every is how often released objects are looked for.
	Every time.Duration // default a minute
	// PagesEvery is how often index objects are looked for, if the floor has moved.
	PagesEvery time.Duration // default ten minutes
}

// The usual times that garbage stays.
const (
	MergeGrace = time.Hour
	UserGrace  = 72 * time.Hour
)

func (o Options) withDefaults() Options {
	if o.Again == 0 {
		o.Again = 24 * time.Hour
	}
	if o.Every == 0 {
		o.Every = time.Minute
	}
	if o.PagesEvery == 0 {
		o.PagesEvery = 10 * time.Minute
	}
	if o.Pace == nil {
		o.Pace = func(context.Context, int) error { return nil }
	}
	if o.OnHold == nil {
		o.OnHold = func([]segment.Hold) {}
	}
	if o.OnLostPage == nil {
		o.OnLostPage = func(LostPage, error) {}
	}
	return o
}

// carry commits entries that the state would take. Entries that contradict it would end the
// journal for all nodes.
func (o *Options) carry(ctx context.Context, entries []segment.Entry) error {
	if err := o.State.Try(entries); err != nil {
		return err
	}
	return o.Carry(ctx, entries)
}

// round begins a round of work that goes by time, and returns that. It is false if the clocks
// are not trusted, which is a trouble of its own.
func (o *Options) round(ctx context.Context) (now time.Time, trusted bool, err error) {
	now, err = o.Round(ctx)
	if errors.Is(err, clocks.ErrWrong) || errors.Is(err, clocks.ErrTooEarly) {
		return now, false, nil
	}
	return now, err == nil, err
}
