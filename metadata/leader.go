package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// LeaderOptions give the metadata journal and its leader. Fields that may not
// be left out are required.
type LeaderOptions struct {
	Store    objstore.Store
	Journal  journal.Config // of journal 0, with the name of the first leadership; Lead is implied
	State    *State         // nothing applied yet, or the state before Journal.Chain
	Defaults Defaults
	// Committed is called with every valid object that is applied while the journal is led,
	// or taken over; Followed with all others. Followed may be left out.
	Committed, Followed func(o *journal.Object)
	// Pace says when the journal is looked at while it is followed; nil: each second.
	Pace *journal.Pace
	// OnEnd is called with each end entry of another leadership that is applied, and with
	// the epoch of that. A later fence makes it void. It must not block, and may be left out.
	OnEnd func(epoch uint32, e journal.End)
	// Run is how this process is registered at the start of each leadership; nil: with its
	// data folder alone.
	Run *Run
	// OnLed is called when a leadership has begun, OnReady when it accepts requests. OnEnding
	// is called with the reason at the end of each leadership, and of each way to one, before
	// requests that wait are answered. They must not block, and may be left out.
	OnLed    func(epoch uint32)
	OnReady  func()
	OnEnding func(err error)
	// OnSkipped is called after the state has skipped to that of a newer checkpoint, as the
	// floor has passed it: Committed and Followed have not seen the objects in between. It
	// must not block, and may be left out.
	OnSkipped func(at journal.Chain)
	// OnLost is called after the end of each leadership, and of each way to one, with the
	// reason. The Leader ends with the error that it returns, and follows on if it returns
	// nil. It must not block, nor lead again before it returns. nil: the Leader ends.
	OnLost      func(err error) error
	Checkpoints journal.CheckpointPolicy // may be left out
	// OnCheckpoints is a journal.Checkpointer's OnTrouble; it may be left out.
	OnCheckpoints func(journal.Step, error)
	// Reconciled says how far data journals have followed journal 0; nil: none has a
	// leader. Then answers wait for no partitions, and deleted topics are not purged.
	Reconciled Reconciled
	// DeleteGrace is how long a deleted topic can be restored before it is purged, by the
	// time of PurgeMs.
	DeleteGrace time.Duration
	// PurgeMs returns a time in Unix milliseconds that is confirmed; it may lag. nil: that
	// of Journal.
	PurgeMs func() int64
	// OnUndone gets the reason when data journals do not complete changes for
	// long, and nil when they have. It must not block, and may be left out.
	OnUndone func(error)
	Log      *slog.Logger
}

// owner returns the options of the Owner of journal 0.
func (o *LeaderOptions) owner() journal.OwnerOptions {
	cfg := o.Journal
	cfg.Lead = false
	return journal.OwnerOptions{Journal: cfg, Log: o.Log, Checkpoints: &journal.CheckpointerOptions{
		NewID: cfg.NewID, Last: cfg.Chain.Last.Seq, Check: o.State.checkCheckpoint, Policy: o.Checkpoints, OnTrouble: o.OnCheckpoints,
	}}
}

// Leader is the controller, or was and may be it again: it leads the metadata journal, or is
// about to, and commits the changes that a Controller plans. Between two leaderships it
// follows, and requests get ErrNotController. Its loop owns its decisions (leading).
type Leader struct {
	opt    LeaderOptions
	loop   *journal.Loop[*command]
	life   *life
	ready  chan struct{} // closed when it leads for the first time
	nodeID int32         // read after ready
	leads  atomic.Bool
}

func (o LeaderOptions) withDefaults() LeaderOptions {
	if o.Reconciled == nil {
		o.Reconciled = NewReports()
	}
	if o.PurgeMs == nil {
		o.PurgeMs = o.Journal.NowMs
	}
	if o.OnUndone == nil {
		o.OnUndone = func(error) {}
	}
	if o.Followed == nil {
		o.Followed = func(*journal.Object) {}
	}
	if o.Pace == nil {
		o.Pace = journal.NewPace(func() time.Duration { return time.Second })
	}
	if o.OnLed == nil {
		o.OnLed = func(uint32) {}
	}
	if o.OnReady == nil {
		o.OnReady = func() {}
	}
	if o.OnEnding == nil {
		o.OnEnding = func(error) {}
	}
	if o.OnSkipped == nil {
		o.OnSkipped = func(journal.Chain) {}
	}
	if o.OnLost == nil {
		o.OnLost = func(err error) error { return err }
	}
	return o
}

// StartLeader begins to read the metadata journal, to fence it and to lead it.
func StartLeader(opt LeaderOptions) *Leader {
	l := newLeader(opt)
	l.life.lead(journal.Stand{Incarnation: opt.Journal.Incarnation}, l.isReady)
	l.start()
	return l
}

// FollowLeader begins to read the metadata journal, and follows it until Lead is called.
// The options need no name of a leadership.
func FollowLeader(opt LeaderOptions) *Leader {
	l := newLeader(opt)
	l.start()
	return l
}

func newLeader(opt LeaderOptions) *Leader {
	opt = opt.withDefaults()
	l := &Leader{opt: opt, ready: make(chan struct{})}
	owned := opt.owner()
	owned.Skip = func(c *journal.Checkpoint) error { return l.life.skip(c) }
	l.loop = journal.NewLoop[*command](opt.Store, owned)
	lost := opt.OnLost
	opt.OnLost = func(err error) error {
		l.leads.Store(false)
		return lost(err)
	}
	l.life = newLife(opt, l.loop.Owner())
	return l
}

func (l *Leader) start() {
	wake := make(chan struct{}, 1)
	unwatch := l.opt.Reconciled.Watch(wake)
	l.loop.Start(l.life, journal.Intake[*command]{
		Take: l.life.take, Close: func() error { unwatch(); return nil },
		Signal: func() <-chan struct{} {
			if l.life.leading == nil {
				return l.opt.Pace.Changed()
			}
			return wake
		},
	})
}

func (l *Leader) isReady(nodeID int32) {
	l.leads.Store(true)
	select {
	case <-l.ready:
	default:
		l.nodeID = nodeID
		close(l.ready)
	}
	l.opt.OnReady()
}

// Lead takes the journal over again, under a name that was never used before, if it is
// followed.
func (l *Leader) Lead(ctx context.Context, incarnation segment.ID) error {
	return l.stand(ctx, journal.Stand{Incarnation: incarnation})
}

// LeadPatiently is Lead, but it gives up at a fence of another node that was not read
// before. OnLost gets that as a journal.FencedError (CLUSTER.md, rule 36).
func (l *Leader) LeadPatiently(ctx context.Context, incarnation segment.ID) error {
	return l.stand(ctx, journal.Stand{Incarnation: incarnation, Patient: true})
}

func (l *Leader) stand(ctx context.Context, how journal.Stand) error {
	return l.loop.Do(ctx, func() {
		if l.life.leading == nil {
			l.life.lead(how, l.isReady)
		}
	})
}

// AtHead is closed when the state has all that journal 0 held at the start: a follower has
// proved its head, or this node is the controller.
func (l *Leader) AtHead() <-chan struct{} { return l.loop.Ready() }

// Ready is closed when this node is the controller for the first time, and has a broker id.
func (l *Leader) Ready() <-chan struct{} { return l.ready }

// Leads reports whether this node is the controller, as far as it knows.
func (l *Leader) Leads() bool { return l.leads.Load() }

// Done is closed when the Leader has ended; Err is the reason.
func (l *Leader) Done() <-chan struct{} { return l.loop.Done() }

// Err returns why the Leader ended, once Done is closed; nil after Close.
func (l *Leader) Err() error { return l.loop.Err() }

// NodeID returns this data folder's broker id, once Ready is closed.
func (l *Leader) NodeID() int32 { return l.nodeID }

// Poke has the journal looked at soon, if it is followed.
func (l *Leader) Poke() { l.loop.Poke() }

// Prove returns nil once everything committed before the call is applied; see
// journal.Driver.
func (l *Leader) Prove(ctx context.Context) error { return l.loop.Prove(ctx) }

// Confirm returns nil if this Leader is known to lead still; see journal.Driver.
func (l *Leader) Confirm(ctx context.Context) error { return l.loop.Confirm(ctx) }

// Close stops leading and waits. The outcome of changes under way is unknown.
func (l *Leader) Close() { l.loop.Close() }

// CreateTopics implements Admin, and creates internal topics, too.
func (l *Leader) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) []CreateResult {
	var results []CreateResult
	cmd := &command{plan: func(c *Controller) (entries []segment.Entry, _ error) {
		entries, results = c.CreateTopics(l.opt.Journal.NowMs(), topics, validateOnly, l.opt.Journal.NewID)
		return entries, nil
	}}
	if !validateOnly {
		cmd.follow = func(l *leading) awaited { return l.awaitOpen(createdOf(results)) }
	}
	err := l.do(ctx, cmd)
	switch {
	case errors.Is(err, errNotFollowed):
		for i := range results {
			if results[i].Err == nil {
				results[i] = CreateResult{Err: err}
			}
		}
	case err != nil:
		return slices.Repeat([]CreateResult{{Err: err}}, len(topics)) // the plan may still be running
	}
	return results
}

func createdOf(results []CreateResult) (created []*Topic) {
	for _, r := range results {
		if r.Err == nil {
			created = append(created, r.Topic)
		}
	}
	return created
}

// DeleteTopics implements Admin, and deletes internal topics, too.
func (l *Leader) DeleteTopics(ctx context.Context, ids []segment.ID) []error {
	return l.each(ctx, len(ids), func(c *Controller) ([]segment.Entry, []error) { return c.DeleteTopics(l.opt.Journal.NowMs(), ids) },
		func(l *leading, errs []error) awaited { return awaited{topics: allowed(ids, errs)} })
}

// RestoreTopics implements Admin.
func (l *Leader) RestoreTopics(ctx context.Context, ids []segment.ID) []error {
	return l.each(ctx, len(ids), func(c *Controller) ([]segment.Entry, []error) { return c.RestoreTopics(ids) },
		func(l *leading, errs []error) awaited {
			var restored []*Topic
			for _, id := range allowed(ids, errs) {
				if t, ok := l.opt.State.TopicByID(id); ok {
					restored = append(restored, t)
				}
			}
			return l.awaitOpen(restored)
		})
}

// LookAgain has the controller look for deleted topics that are due, after PurgeMs has
// moved on.
func (l *Leader) LookAgain(ctx context.Context) { _ = l.loop.Do(ctx, func() {}) }

// Raise implements Admin.
func (l *Leader) Raise(ctx context.Context, level uint16, validateOnly bool) error {
	return l.do(ctx, &command{plan: func(c *Controller) ([]segment.Entry, error) {
		return c.Raise(l.opt.Journal.NowMs(), level, validateOnly)
	}})
}

// SetNode implements Admin. The controller does not remove itself: once it is drained and
// leads nothing else, it hands over to another one, which can.
func (l *Leader) SetNode(ctx context.Context, id int32, state NodeState, validateOnly bool) error {
	return l.try(ctx, validateOnly, func(c *Controller) ([]segment.Entry, error) {
		if state == StateRemoved && id == l.life.leading.nodeID {
			if _, err := c.trial().SetNode(id, state); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: node %d is still the controller, and gives that to another node within seconds of being drained", ErrNodeInUse, id)
		}
		return c.SetNode(id, state)
	})
}

// GrowTo implements Admin.
func (l *Leader) GrowTo(ctx context.Context, journals uint32, validateOnly bool) error {
	return l.try(ctx, validateOnly, func(c *Controller) ([]segment.Entry, error) { return c.GrowTo(journals) })
}

// try does a request, or only finds its answer. That, too, depends on the plans before it.
func (l *Leader) try(ctx context.Context, validateOnly bool, plan func(*Controller) ([]segment.Entry, error)) error {
	return l.do(ctx, &command{plan: func(c *Controller) ([]segment.Entry, error) {
		if !validateOnly {
			return plan(c)
		}
		_, err := plan(c.trial())
		return nil, err
	}})
}

// CreatePartitions implements Admin.
func (l *Leader) CreatePartitions(ctx context.Context, more []NewPartitions, validateOnly bool) []error {
	follow := func(l *leading, errs []error) awaited {
		var grown []*Topic
		for _, n := range allowed(more, errs) {
			if t, ok := l.opt.State.Topic(n.Topic); ok {
				grown = append(grown, t)
			}
		}
		return l.awaitOpen(grown)
	}
	if validateOnly {
		follow = nil
	}
	return l.each(ctx, len(more), func(c *Controller) ([]segment.Entry, []error) { return c.CreatePartitions(more, validateOnly) }, follow)
}

// AlterConfigs implements Admin.
func (l *Leader) AlterConfigs(ctx context.Context, changes []ConfigChange, validateOnly bool) []error {
	return l.each(ctx, len(changes), func(c *Controller) ([]segment.Entry, []error) { return c.AlterConfigs(changes, validateOnly) }, nil)
}

// allowed returns the requests without an error.
func allowed[T any](requests []T, errs []error) (left []T) {
	for i, r := range requests {
		if errs[i] == nil {
			left = append(left, r)
		}
	}
	return left
}

// each does n requests of one call, each of which has an answer.
func (l *Leader) each(ctx context.Context, n int, plan func(*Controller) ([]segment.Entry, []error), follow func(*leading, []error) awaited) []error {
	var errs []error
	cmd := &command{plan: func(c *Controller) (entries []segment.Entry, _ error) {
		entries, errs = plan(c)
		return entries, nil
	}}
	if follow != nil {
		cmd.follow = func(l *leading) awaited { return follow(l, errs) }
	}
	err := l.do(ctx, cmd)
	switch {
	case errors.Is(err, errNotFollowed):
		for i := range errs {
			errs[i] = cmp.Or(errs[i], err)
		}
	case err != nil:
		return repeat(err, n)
	}
	return errs
}

// NextProducerID implements Admin. Ids come from blocks, so most calls commit
// nothing.
func (l *Leader) NextProducerID(ctx context.Context) (int64, error) {
	var id int64
	err := l.do(ctx, &command{plan: func(c *Controller) (entries []segment.Entry, err error) {
		entries, id, err = l.life.leading.nextProducerID(c)
		return entries, err
	}})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Settle returns nil once all changes requested before are committed, and
// complete in the data journals. That includes those whose requests have ended
// with an unknown outcome. If the Leader ends, its reason is in the error.
func (l *Leader) Settle(ctx context.Context) error {
	err := l.do(ctx, &command{
		plan:   func(*Controller) ([]segment.Entry, error) { return nil, nil },
		follow: (*leading).awaitAll,
	})
	select {
	case <-l.Done():
		if reason := l.Err(); err != nil && reason != nil && !errors.Is(err, reason) {
			return fmt.Errorf("%w: %w", err, reason)
		}
	default:
	}
	return err
}

// do plans on the owner's goroutine, and waits until the plan is committed and
// followed.
func (l *Leader) do(ctx context.Context, cmd *command) error {
	cmd.done = make(chan error, 1)
	select {
	case l.loop.Requests() <- cmd:
	case <-ctx.Done():
		return ErrUnavailable
	case <-l.loop.Done():
		return ErrNotController
	}
	select {
	case err := <-cmd.done:
		return err
	case <-ctx.Done():
	case <-l.loop.Done():
		select {
		case err := <-cmd.done: // the end itself gave it
			return err
		default:
		}
	}
	if cmd.committed.Load() {
		return errNotFollowed
	}
	return ErrUnavailable
}

// errNotFollowed: the plan's answer holds, but the data journals are behind. Requests
// with an error of their own keep it.
var errNotFollowed = fmt.Errorf("%w: the change is committed, and not yet complete in the data journals", ErrUnavailable)
