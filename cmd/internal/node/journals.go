package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/sweep"
)

// prover proves the head of a journal; see journal.Driver.Prove.
type prover interface {
	Prove(ctx context.Context) error
}

// dataJournal is a data journal that this node leads, or follows. Another one takes its
// place when that changes.
type dataJournal struct {
	state   *partlog.State
	prover  prover
	leader  *ingest.Leader // nil if the node follows
	lost    func()         // of a journal that the node has led, and follows now: has it looked at; else nil
	recent  *fetch.Recent  // nil if the node follows
	pace    *journal.Pace  // nil if the node leads
	merger  *merge.Merger  // nil if nothing is merged here
	deleter *sweep.Deleter // nil if nothing is deleted here
	metrics *metrics       // of the leadership; nil if the node follows

	snapshots *shard.Snapshots // of its coordinators; nil if the node follows
}

// journals are the data journals of this node.
type journals struct {
	mu       sync.RWMutex
	byID     map[uint32]*dataJournal // guarded by mu
	watchers []chan<- struct{}       // guarded by mu
}

func (j *journals) get(id uint32) *dataJournal {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.byID[id]
}

// set adds a journal, or replaces it.
func (j *journals) set(id uint32, d *dataJournal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.byID[id] = d
	for _, wake := range j.watchers {
		select {
		case wake <- struct{}{}:
		default: // a value waits already
		}
	}
}

// watch sends on wake, which has room for one, after each change.
func (j *journals) watch(wake chan<- struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.watchers = append(j.watchers, wake)
}

// startJournals leads the journals, or follows them on a node that only reads.
func (n *node) startJournals(ctx context.Context, closers *stack) error {
	n.journals = &journals{byID: map[uint32]*dataJournal{}}
	n.topics = n.meta
	n.board.Busy("reading the metadata journal")
	if n.writes() {
		return n.lead(ctx, closers)
	}
	return n.follow(ctx, closers)
}

// lead takes over journal 0 and then every data journal, and returns when these have
// followed the metadata.
func (n *node) lead(ctx context.Context, closers *stack) error {
	n.leaders = ledHere{n}
	cfg, err := n.metaConfig(ctx)
	if err != nil {
		return err
	}
	again := make(chan struct{}, 1)
	controller := metadata.StartLeader(metadata.LeaderOptions{
		Store: n.store, Journal: cfg, State: n.meta, Log: n.log,
		Defaults:  metadata.Defaults{Partitions: n.cfg.DefaultPartitions, ReplicationFactor: 1},
		Committed: n.committed, Followed: n.followed, Pace: journal.NewPace(n.pollInterval), Checkpoints: n.checkpoints(),
		OnCheckpoints: func(step journal.Step, err error) { n.onCheckpoints(0, step, err) },
		Reconciled:    n.reports, OnUndone: n.onUndone,
		DeleteGrace: n.cfg.DeleteGrace, PurgeMs: n.retention.trusted.Load,
		OnLost: func(reason error) error {
			leads, end := n.afterLoss(0, reason)
			if leads {
				again <- struct{}{} // there is room: it leads again only after this one was taken
			}
			return end
		},
	})
	closers.push(func() error { controller.Close(); return nil })
	closers.push(n.controlAgain(controller, again))
	if err := n.awaitController(ctx, controller); err != nil {
		return err
	}
	n.id = controller.NodeID()
	n.controller, n.admin = controller, controller.ForClients()
	n.startRetention(controller, closers)
	n.rivals.Leads(0, controller)
	for _, id := range n.meta.Journals() {
		n.board.Busy(fmt.Sprintf("reading journal %d", id))
		if err := n.leadData(ctx, id, closers); err != nil {
			return err
		}
	}
	cancel, err := n.bus.Subscribe(n.heard)
	if err != nil {
		return err
	}
	closers.push(func() error { cancel(); n.rivals.Close(); return nil })
	n.board.Busy("opening partitions")
	if err := controller.Settle(ctx); err != nil {
		return fmt.Errorf("open partitions: %w", err)
	}
	return nil
}

// heard takes a hint that another node has committed.
func (n *node) heard(a announce.Announcement) {
	n.rivals.Heard(a.Journal, a.Epoch)
	switch j := n.journals.get(a.Journal); {
	case a.Journal == 0 && !n.controller.Leads():
		n.controller.Poke()
	case j != nil && j.lost != nil:
		j.lost()
	}
}

// controlAgain takes journal 0 over again each time that again says so, until the function it
// returns is called, which waits.
func (n *node) controlAgain(c *metadata.Leader, again <-chan struct{}) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-again:
				_ = c.Lead(ctx, segment.NewID()) // if not, it has ended
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() error {
		cancel()
		<-done
		return nil
	}
}

func (n *node) checkpoints() journal.CheckpointPolicy {
	p := journal.CheckpointPolicy{Every: uint64(n.cfg.CheckpointObjects)}
	if n.cfg.CheckpointObjects >= 256 { // fewer are asked for where starts are tried out
		p.Pause = 5 * time.Second
	}
	return p
}

// awaitController waits until the controller is ready. If it later ends on its own, the node
// fails.
func (n *node) awaitController(ctx context.Context, c *metadata.Leader) error {
	const name = "metadata journal"
	select {
	case <-c.Ready():
	case <-c.Done():
		return fmt.Errorf("%s: %w", name, explain(c.Err()))
	case <-ctx.Done():
		return ctx.Err()
	}
	go func() { // ends with c, which is closed before Run returns
		<-c.Done()
		if err := c.Err(); err != nil {
			n.fail(fmt.Errorf("%s: %w", name, explain(err)))
		}
	}()
	return nil
}

// explain adds advice for an operator.
func explain(err error) error {
	switch {
	case errors.Is(err, journal.ErrFenced):
		return fmt.Errorf("%w; run one node with the ingest role on a bucket, others with --roles fetch", err)
	case errors.Is(err, journal.ErrForeign):
		return fmt.Errorf("%w; if the bucket was rolled back on purpose, start with an empty --data-dir: records that only the lost objects held are lost", err)
	case errors.Is(err, journal.ErrBroken):
		return fmt.Errorf("%w; objects were removed, replaced or added outside of varve: restore them, or remove objects that varve did not write; "+
			"nothing is skipped, and \"varve bucket verify\" names all of them", err)
	case errors.Is(err, journal.ErrDamaged), errors.Is(err, segment.ErrCorrupt):
		return fmt.Errorf("%w; restore the object from a copy of the bucket, or remove it if varve did not write it; "+
			"\"varve bucket verify\" describes the damage", err)
	}
	return err
}

// followed is called with every object that this node applied to a journal that it does
// not lead.
func (n *node) followed(o *journal.Object) {
	h := &o.Footer.Header
	n.dir.Saw(h.Journal, o.Ref())
	n.rivals.Applied(h.Journal, h.Epoch)
}

// committed is called with every object that this node applied to a journal it
// leads.
func (n *node) committed(o *journal.Object) {
	n.followed(o)
	h := &o.Footer.Header
	n.bus.Publish(announce.Announcement{Journal: h.Journal, Epoch: h.Epoch, Seq: h.Seq, Object: h.Object})
}

// checkAttached returns why the coordinators could not go on from the bytes next to a
// checkpoint, or nil.
func checkAttached(b []byte) error {
	_, err := shard.DecodeSnapshots(b)
	return err
}
