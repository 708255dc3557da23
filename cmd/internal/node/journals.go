package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/announce"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/sweep"
	"github.com/varvelog/varve/tiering/upkeep"
)

// prover proves the head of a journal; see journal.Driver.Prove.
type prover interface {
	Prove(ctx context.Context) error
}

// dataJournal is a data journal that this node leads, or follows.
type dataJournal struct {
	state   *partlog.State
	prover  prover
	leader  *ingest.Leader // nil if the node follows
	recent  *fetch.Recent  // nil if the node follows
	pace    *journal.Pace  // nil if the node leads
	merger  *merge.Merger  // nil if nothing is merged here
	deleter *sweep.Deleter // nil if nothing is deleted here

	snapshots *shard.Snapshots // of its coordinators; nil if the node follows
}

// journals are the data journals of this node.
type journals struct {
	mu   sync.RWMutex
	byID map[uint32]*dataJournal
}

func (j *journals) get(id uint32) *dataJournal {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.byID[id]
}

func (j *journals) add(id uint32, d *dataJournal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.byID[id] = d
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
	cfg, err := n.metaConfig(ctx)
	if err != nil {
		return err
	}
	controller := metadata.StartLeader(metadata.LeaderOptions{
		Store: n.store, Journal: cfg, State: n.meta, Log: n.log,
		Defaults:  metadata.Defaults{Partitions: n.cfg.DefaultPartitions, ReplicationFactor: 1},
		Committed: n.committed, Checkpoints: n.checkpoints(),
		OnCheckpoints: func(step journal.Step, err error) { n.onCheckpoints(0, step, err) },
		Reconciled:    n.reports, OnUndone: n.onUndone,
		DeleteGrace: n.cfg.DeleteGrace, PurgeMs: n.retention.trusted.Load,
	})
	closers.push(func() error { controller.Close(); return nil })
	if err := n.await(ctx, controller, "metadata journal"); err != nil {
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
	cancel, err := n.bus.Subscribe(func(a announce.Announcement) { n.rivals.Heard(a.Journal, a.Epoch) })
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

func (n *node) checkpoints() journal.CheckpointPolicy {
	p := journal.CheckpointPolicy{Every: uint64(n.cfg.CheckpointObjects)}
	if n.cfg.CheckpointObjects >= 256 { // fewer are asked for where starts are tried out
		p.Pause = 5 * time.Second
	}
	return p
}

func (n *node) leadData(ctx context.Context, id uint32, closers *stack) error {
	from, err := n.dataConfig(ctx, id)
	if err != nil {
		return err
	}
	snapshots, err := shard.DecodeSnapshots(from.attached)
	if err != nil {
		return fmt.Errorf("checkpoint of journal %d: %w", id, err)
	}
	state := from.state
	recent, written := fetch.NewRecent(id, n.cfg.TailBytes), upkeep.NewFlow(upkeep.SystemClock{})
	led := ingest.Open(ingest.Options{
		Store: n.store, State: state, Journal: from.cfg, Recent: counted{recent, written}, Pool: n.pool, Attached: snapshots.Encode,
		Committed: n.committed, Followed: n.followed, Pace: journal.NewPace(n.pollInterval), OnLost: func(err error) error { return err },
		WAL: wal.Options{
			Dir:     n.dir.WAL(id),
			Cluster: n.cluster.ID, Node: n.dir.Node(), Journal: id, MaxBytes: n.cfg.WALMaxBytes,
		},
		FlushInterval: n.cfg.FlushInterval, FlushBytes: int(n.cfg.FlushBytes), PUTsPerSecond: n.cfg.FlushPUTs.For(bucket.Billed(n.store.String()), n.cfg.FlushInterval), Now: time.Now, Log: n.log,
		Placements: n.meta, ProvePlacements: n.controller.Prove, OnReconciled: func(seq uint64) { n.reports.Report(id, seq) },
		OnFull:        func(err error) { n.onFull(id, err) },
		OnAside:       func(records int64, err error) { n.onAside(id, records, err) },
		OnCheckpoints: func(step journal.Step, err error) { n.onCheckpoints(id, step, err) },
		CarryAfter:    n.cfg.MergeWait, Checkpoints: n.checkpoints(), CheckAttached: checkAttached,
	})
	closers.push(led.Close)
	leader, err := led.Lead(n.term(id))
	if err != nil {
		return err
	}
	closers.push(func() error { return n.closeLeader(leader) })
	if err := n.await(ctx, leader, fmt.Sprintf("journal %d", id)); err != nil {
		return err
	}
	n.rivals.Leads(id, leader)
	n.reports.Leads(id, true)
	go func() { // ends with leader, which is closed before Run returns
		<-leader.Done()
		n.reports.Leads(id, false) // or a start would wait for its reports
	}()
	j := &dataJournal{state: state, prover: leader, leader: leader, recent: recent, snapshots: snapshots}
	if err := n.startUpkeep(id, j, written, closers); err != nil {
		return err
	}
	if n.cfg.HasRole(config.RoleTiering) {
		n.startVerify(id, j, closers)
	}
	n.journals.add(id, j)
	n.metrics.leader(id, state, leader)
	return nil
}

func (n *node) closeLeader(l *ingest.Leader) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	select {
	case <-l.Done():
		return nil // it ended on its own, and the node with it: reported already
	default:
		return l.Close(ctx)
	}
}

// part is a leader of either kind.
type part interface {
	Ready() <-chan struct{}
	Done() <-chan struct{}
	Err() error
}

// await waits until p is ready. If p later ends on its own, the node fails.
func (n *node) await(ctx context.Context, p part, name string) error {
	if err := awaitReady(ctx, p, name); err != nil {
		return err
	}
	go func() { // ends with p, which is closed before Run returns
		<-p.Done()
		if err := p.Err(); err != nil {
			n.fail(fmt.Errorf("%s: %w", name, explain(err)))
		}
	}()
	return nil
}

func awaitReady(ctx context.Context, p part, name string) error {
	select {
	case <-p.Ready():
		return nil
	case <-p.Done():
		return fmt.Errorf("%s: %w", name, explain(p.Err()))
	case <-ctx.Done():
		return ctx.Err()
	}
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

// term names a new leadership of a journal. If it cannot be noted, it counts as one of this
// folder for as long as its write-ahead log lies there.
func (n *node) term(id uint32) ingest.Term {
	t := ingest.Term{Incarnation: segment.NewID(), Own: n.dir.Incarnations(id)}
	if err := n.dir.Leads(id, t.Incarnation); err != nil {
		n.log.Warn("the leadership was not noted in the data folder", "journal", id, "error", err)
	}
	return t
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
