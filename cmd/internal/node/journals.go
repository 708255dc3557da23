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

// led returns the leader of a journal, nil if this node does not lead it.
func (j *journals) led(id uint32) *ingest.Leader {
	if d := j.get(id); d != nil {
		return d.leader
	}
	return nil
}

// drop removes a journal.
func (j *journals) drop(id uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.byID, id)
	j.wakeLocked()
}

// set adds a journal, or replaces it.
func (j *journals) set(id uint32, d *dataJournal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.byID[id] = d
	j.wakeLocked()
}

func (j *journals) wakeLocked() {
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

// lead reads journal 0, and then either takes part in the cluster, or leads all journals.
func (n *node) lead(ctx context.Context, closers *stack) error {
	n.leaders = ledHere{n}
	cfg, err := n.metaConfig(ctx)
	if err != nil {
		return err
	}
	n.member = n.newMember()
	again := make(chan struct{}, 1)
	controller := metadata.FollowLeader(n.controls(cfg, again))
	closers.push(func() error { controller.Close(); n.member.lasting.Wait(); return nil })
	if err := n.awaitJournal0(ctx, controller, controller.AtHead()); err != nil {
		return err
	}
	n.controller, n.admin = controller, controller.ForClients()
	n.watchJournal0(controller)
	if n.isCluster() {
		return n.enterCluster(closers)
	}
	closers.push(n.controlAgain(controller, again))
	return n.leadAll(ctx, closers)
}

// isCluster reports whether this node is one of several that may lead, by the state of
// journal 0 at its head. On an empty bucket it begins such a cluster, if it may.
func (n *node) isCluster() bool {
	level := n.meta.Level()
	if level == 0 {
		level = uint16(n.cfg.FeatureLevel)
	}
	return level >= metadata.LevelCluster
}

// controls are the options of journal 0. again gets a value when it is to be taken over again.
func (n *node) controls(cfg journal.Config, again chan<- struct{}) metadata.LeaderOptions {
	m := n.member
	return metadata.LeaderOptions{
		Store: n.store, Journal: cfg, State: n.meta, Log: n.log, Run: &m.run,
		Defaults:  metadata.Defaults{Partitions: n.cfg.DefaultPartitions, ReplicationFactor: 1, Journals: uint32(n.cfg.Journals)},
		Committed: n.committed, Followed: n.followed, Pace: journal.NewPace(n.pollInterval), Checkpoints: n.checkpoints(),
		OnCheckpoints: func(step journal.Step, err error) { n.onCheckpoints(0, step, err) },
		Reconciled:    n.reports, OnUndone: n.onUndone,
		DeleteGrace: n.cfg.DeleteGrace, PurgeMs: n.retention.trusted.Load,
		OnLed: m.zero.led, OnReady: m.zero.ready, OnEnding: m.zero.ending, OnEnd: m.ended, OnSkipped: n.skipped,
		OnLost: func(reason error) error {
			leads, end := n.afterLoss(0, reason)
			if leads {
				again <- struct{}{} // there is room: it leads again only after this one was taken
			}
			return end
		},
	}
}

// leadAll takes over journal 0 and then every data journal, and returns when these have
// followed the metadata. There is one node with the role below metadata.LevelCluster.
func (n *node) leadAll(ctx context.Context, closers *stack) error {
	controller := n.controller
	if err := controller.Lead(ctx, n.incarnation); err != nil {
		return err
	}
	if err := n.awaitJournal0(ctx, controller, controller.Ready()); err != nil {
		return err
	}
	n.id.Store(controller.NodeID())
	n.startRetention(controller, closers)
	n.rivals.Leads(0, controller)
	for _, id := range n.meta.Journals() {
		n.board.Busy(fmt.Sprintf("reading journal %d", id))
		if err := n.leadData(ctx, id, closers); err != nil {
			return err
		}
	}
	if err := n.listenToBus(closers); err != nil {
		return err
	}
	n.board.Busy("opening partitions")
	if err := controller.Settle(ctx); err != nil {
		return fmt.Errorf("open partitions: %w", err)
	}
	closers.push(n.watchLevel())
	return nil
}

// listenToBus takes announcements, until closers.
func (n *node) listenToBus(closers *stack) error {
	cancel, err := n.bus.Subscribe(n.heard)
	if err != nil {
		return err
	}
	closers.push(func() error { cancel(); n.rivals.Close(); return nil })
	return nil
}

// errLevelRaised: the cluster was raised to the level from which on several nodes may lead.
var errLevelRaised = errors.New("the feature level was raised")

// watchLevel begins the node again when the cluster was raised to metadata.LevelCluster.
func (n *node) watchLevel() (stop func() error) {
	wake := make(chan struct{}, 1)
	unwatch := n.meta.Watch(wake)
	stopping, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-wake:
				if n.meta.Level() >= metadata.LevelCluster {
					n.fail(errLevelRaised)
				}
			case <-stopping:
				return
			}
		}
	}()
	return func() error {
		close(stopping)
		<-done
		unwatch()
		return nil
	}
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

// awaitJournal0 waits for first, or for the end of journal 0 on this node.
func (n *node) awaitJournal0(ctx context.Context, c *metadata.Leader, first <-chan struct{}) error {
	select {
	case <-first:
		return nil
	case <-c.Done():
		return fmt.Errorf("metadata journal: %w", explain(c.Err()))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watchJournal0 fails the node if journal 0 ends on its own.
func (n *node) watchJournal0(c *metadata.Leader) {
	go func() { // ends with c, which is closed before Run returns
		<-c.Done()
		if err := c.Err(); err != nil {
			n.fail(fmt.Errorf("metadata journal: %w", explain(err)))
		}
	}()
}

// explain adds advice for an operator.
func explain(err error) error {
	switch {
	case errors.Is(err, journal.ErrFenced):
		return fmt.Errorf("%w; below feature level 3 one node writes to a bucket: run others with --roles fetch, or raise the level with \"varve cluster upgrade\" first", err)
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
	if n.member != nil {
		n.member.applied(h)
	}
}

// skipped is called when journal 0 was read on from a newer checkpoint.
func (n *node) skipped(at journal.Chain) {
	n.dir.Saw(0, at.Last)
	n.rivals.Applied(0, at.Epoch)
	n.member.skipped(at)
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
