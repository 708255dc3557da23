package metadata

import (
	"context"
	"log/slog"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// LeaderOptions says where the metadata journal is and who leads it. Fields that may
// not be left out are needed.
type LeaderOptions struct {
	Store    objstore.Store
	Journal  journal.Config // of journal 0; Lead is implied
	State    *State         // nothing applied yet, or what Journal.Chain stands behind
	Defaults Defaults
	// Committed is called with every valid object, after it was applied.
	Committed   func(o *journal.Object)
	Checkpoints journal.CheckpointPolicy // may be left out
	// OnCheckpoints is a journal.Checkpointer's OnTrouble; it may be left out.
	OnCheckpoints func(journal.Step, error)
	Log           *slog.Logger
}

// owner are the options of the Owner of journal 0.
func (o *LeaderOptions) owner() journal.OwnerOptions {
	cfg := o.Journal
	cfg.Lead = true
	return journal.OwnerOptions{Journal: cfg, Log: o.Log, Checkpoints: &journal.CheckpointerOptions{
		NewID: cfg.NewID, Last: cfg.Chain.Last.Seq, Check: checkCheckpoint, Policy: o.Checkpoints, OnTrouble: o.OnCheckpoints,
	}}
}

// Leader is the controller: it leads the metadata journal, or is on the way to,
// and commits the changes that a Controller plans. Its loop owns what it decides (leading).
type Leader struct {
	opt     LeaderOptions
	loop    *journal.Loop[*command]
	leading *leading
}

// StartLeader begins to read the metadata journal, to fence it and to lead it.
func StartLeader(opt LeaderOptions) *Leader {
	l := &Leader{opt: opt, loop: journal.NewLoop[*command](opt.Store, opt.owner())}
	l.leading = newLeading(opt, l.loop.Owner())
	l.loop.Start(l.leading, journal.Intake[*command]{Take: l.leading.take})
	return l
}

// Ready is closed when this node is the controller and has a broker id.
func (l *Leader) Ready() <-chan struct{} { return l.loop.Ready() }

// Done is closed when the Leader has ended; Err is the reason.
func (l *Leader) Done() <-chan struct{} { return l.loop.Done() }

// Err is why the Leader ended, once Done is closed; nil after Close.
func (l *Leader) Err() error { return l.loop.Err() }

// NodeID is this data folder's broker id, once Ready is closed.
func (l *Leader) NodeID() int32 { return l.leading.nodeID }

// Prove returns nil once all that was committed before the call is applied; see
// journal.Driver.
func (l *Leader) Prove(ctx context.Context) error { return l.loop.Prove(ctx) }

// Confirm returns nil if this Leader is known to lead still; see journal.Driver.
func (l *Leader) Confirm(ctx context.Context) error { return l.loop.Confirm(ctx) }

// Close stops leading and waits. The outcome of what is under way is unknown.
func (l *Leader) Close() { l.loop.Close() }

// CreateTopics is Admin's. The topics' partitions take no records before the
// journals they live in have opened them.
func (l *Leader) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) []CreateResult {
	var results []CreateResult
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, _ error) {
		entries, results = c.CreateTopics(l.opt.Journal.NowMs(), topics, validateOnly, l.opt.Journal.NewID)
		return entries, nil
	})
	if err == nil {
		return results
	}
	failed := make([]CreateResult, len(topics)) // the plan may still be running
	for i := range failed {
		failed[i].Err = err
	}
	return failed
}

// DeleteTopics is Admin's.
func (l *Leader) DeleteTopics(ctx context.Context, ids []segment.ID) []error {
	var errs []error
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, _ error) {
		entries, errs = c.DeleteTopics(ids)
		return entries, nil
	})
	if err == nil {
		return errs
	}
	return repeat(err, len(ids))
}

// CreatePartitions is Admin's. The new partitions take no records before the
// journals they live in have opened them.
func (l *Leader) CreatePartitions(ctx context.Context, more []NewPartitions, validateOnly bool) []error {
	var errs []error
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, _ error) {
		entries, errs = c.CreatePartitions(more, validateOnly)
		return entries, nil
	})
	if err == nil {
		return errs
	}
	return repeat(err, len(more))
}

// AlterConfigs is Admin's.
func (l *Leader) AlterConfigs(ctx context.Context, changes []ConfigChange, validateOnly bool) []error {
	var errs []error
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, _ error) {
		entries, errs = c.AlterConfigs(changes, validateOnly)
		return entries, nil
	})
	if err == nil {
		return errs
	}
	return repeat(err, len(changes))
}

// Purge forgets deleted topics all of whose partitions are sealed, and answers for
// each in turn; see Controller.Purge.
func (l *Leader) Purge(ctx context.Context, topics []segment.ID) []error {
	var errs []error
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, _ error) {
		entries, errs = c.Purge(topics)
		return entries, nil
	})
	if err == nil {
		return errs
	}
	return repeat(err, len(topics))
}

// NextProducerID is Admin's. Ids come from blocks, so most calls commit nothing.
func (l *Leader) NextProducerID(ctx context.Context) (int64, error) {
	var id int64
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, err error) {
		entries, id, err = l.leading.nextProducerID(c)
		return entries, err
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// Await returns nil once every change that was asked for before is committed, also
// those whose requests have ended without knowing.
func (l *Leader) Await(ctx context.Context) error {
	return l.do(ctx, func(*Controller) ([]segment.Entry, error) { return nil, nil })
}

// do plans on the owner's goroutine and waits until that is committed.
func (l *Leader) do(ctx context.Context, plan func(*Controller) ([]segment.Entry, error)) error {
	cmd := &command{plan: plan, done: make(chan error, 1)}
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
		return ErrUnavailable
	case <-l.loop.Done():
		return ErrUnavailable
	}
}
