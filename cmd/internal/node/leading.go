package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/metadata/coordinator/shard"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
)

// afterLoss decides about a journal whose leadership this node has lost, for a reason
// (metadata/CLUSTER.md, rule 8). The node takes the journal over again, or ends with an error.
// With neither it follows.
type afterLoss func(journal uint32, reason error) (again bool, end error)

// endsWith ends the node: it has lost the journal to another node. Nothing decides which of
// them is to lead, and if it took the journal over again so would the other one.
func endsWith(_ uint32, reason error) (again bool, end error) { return false, reason }

// dataLife is a data journal on this node, over all its leaderships. Its goroutine starts
// the work that hangs on a leadership once that accepts requests, and stops it after the end.
type dataLife struct {
	node      *node
	id        uint32
	journal   *ingest.Journal
	state     *partlog.State
	snapshots *shard.Snapshots
	recent    *fetch.Recent
	written   *upkeep.Flow

	leader *ingest.Leader // of the present leadership, or the way to it; nil: none
	begun  bool           // it accepts requests
	tenure stack          // stops all that hangs on it

	// Of a life under a seat; nil otherwise. onBegun is called when a leadership accepts
	// requests. ends decides whether the node ends with an error of the life.
	onBegun func()
	ends    func(err error) error

	again   chan struct{} // capacity 1: the journal is to be taken over again
	over    chan struct{} // closed when a leadership, or the life, has ended
	ended   sync.Once     // closes over
	forget  func() error  // of its metrics
	first   chan error    // capacity 1: the outcome of the first take-over
	stop    chan struct{}
	stopped chan struct{}
	err     error // of the end; read after stopped
}

// leadData takes a data journal over, and returns when it accepts requests.
func (n *node) leadData(ctx context.Context, id uint32, closers *stack) error {
	l, err := n.newLife(ctx, id)
	if err != nil {
		return err
	}
	if l.leader, err = l.journal.Lead(n.term(id)); err != nil {
		return err
	}
	go l.run()
	closers.push(l.close)
	select {
	case err := <-l.first:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *node) newLife(ctx context.Context, id uint32) (*dataLife, error) {
	from, err := n.dataConfig(ctx, id)
	if err != nil {
		return nil, err
	}
	l := &dataLife{
		node: n, id: id, state: from.state, recent: fetch.NewRecent(id, n.cfg.TailBytes), written: upkeep.NewFlow(upkeep.SystemClock{}),
		again: make(chan struct{}, 1), over: make(chan struct{}), first: make(chan error, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if l.snapshots, err = shard.DecodeSnapshots(from.attached); err != nil {
		return nil, fmt.Errorf("checkpoint of journal %d: %w", id, err)
	}
	l.journal = ingest.Open(l.options(from))
	var m *metrics
	m, l.forget = n.metrics.during()
	m.journal(id, func() *partlog.State { return l.state })
	return l, nil
}

func (l *dataLife) options(from dataStart) ingest.Options {
	n, id := l.node, l.id
	return ingest.Options{
		Store: n.store, State: l.state, Journal: from.cfg, Recent: counted{l.recent, l.written}, Pool: n.pool, Attached: l.snapshots.Encode,
		Committed: n.committed, Followed: n.followed, Pace: journal.NewPace(n.pollInterval), OnLost: l.lost,
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
	}
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

// lost asks the node what to do after a leadership. It runs on the goroutine of the journal.
func (l *dataLife) lost(reason error) error {
	if reason == nil { // the node is stopping
		return nil
	}
	again, end := l.node.afterLoss(l.id, reason)
	if again {
		l.again <- struct{}{} // there is room: it is the only leadership that has ended since
	}
	if end != nil {
		l.fail(end) // clients are turned away until the node ends: it waits for nothing else
	}
	return end
}

// run goes on until close.
func (l *dataLife) run() {
	defer close(l.stopped)
	ended := l.journal.Done()
	for {
		var ready, over <-chan struct{}
		if l.leader != nil {
			over = l.leader.Done()
		}
		if l.leader != nil && !l.begun {
			ready = l.leader.Ready()
		}
		select {
		case <-ready:
			l.begin()
		case <-over:
			l.end()
		case <-l.again:
			l.leadAgain()
		case <-ended:
			ended = nil
			if err := l.journal.Err(); err != nil {
				l.fail(err)
			}
		case <-l.stop:
			l.shutDown()
			return
		}
	}
}

// begin starts all that hangs on a leadership.
func (l *dataLife) begin() {
	n := l.node
	l.begun = true
	n.rivals.Leads(l.id, l.leader)
	n.reports.Leads(l.id, true)
	m, forget := n.metrics.during()
	l.tenure.push(forget)
	j := &dataJournal{state: l.state, prover: l.leader, leader: l.leader, recent: l.recent, snapshots: l.snapshots, metrics: m}
	if err := n.startUpkeep(l.id, j, l.written, &l.tenure); err != nil {
		l.fail(err)
		return
	}
	if n.cfg.HasRole(config.RoleTiering) {
		n.startVerify(l.id, j, &l.tenure)
	}
	n.journals.set(l.id, j)
	m.leader(l.id, l.leader)
	l.begunFirst(nil)
	if l.onBegun != nil {
		l.onBegun()
	}
}

// end stops all that hung on the leadership that is over. Requests find a journal that is
// followed from then on.
func (l *dataLife) end() {
	n, leader := l.node, l.leader
	l.leader = nil
	if !l.begun {
		defer l.isOver()
		l.begunFirst(fmt.Errorf("journal %d: %w", l.id, explain(leader.Err())))
		return
	}
	l.begun = false
	n.journals.set(l.id, &dataJournal{state: l.state, prover: lostHead{}, lost: l.journal.Poke})
	l.state.Disturb()
	if l.ends == nil {
		n.reports.Leads(l.id, false) // or a start would wait for its reports
	} else {
		n.rivals.Leads(l.id, nil) // this node goes on without the journal
	}
	l.isOver()
	_ = l.tenure.close() // none of them has an error
	l.tenure = nil
	n.endUpkeep(l.id)
}

// leadAgain takes the journal over after a leadership that is over.
func (l *dataLife) leadAgain() {
	if l.leader != nil {
		<-l.leader.Done()
		l.end()
	}
	var err error
	if l.leader, err = l.journal.Lead(l.node.term(l.id)); err != nil {
		l.fail(err)
	}
}

// begunFirst notes the outcome of the first take-over.
func (l *dataLife) begunFirst(err error) {
	select {
	case l.first <- err:
	default: // it is known
	}
}

func (l *dataLife) isOver() { l.ended.Do(func() { close(l.over) }) }

// take begins to take the journal over. It is followed, and this is the first time.
func (l *dataLife) take() { l.again <- struct{}{} }

// fail ends the start of the node, or the node.
func (l *dataLife) fail(err error) {
	defer l.isOver()
	if l.ends != nil {
		if err = l.ends(err); err == nil {
			return
		}
	}
	err = fmt.Errorf("journal %d: %w", l.id, explain(err))
	l.begunFirst(err)
	l.node.fail(err)
}

func (l *dataLife) shutDown() {
	if leader := l.leader; leader != nil {
		if l.begun {
			_ = l.tenure.close() // none of them has an error
		}
		l.err = l.node.closeLeader(leader)
	}
	l.journal.Close()
	_ = l.forget()
}

// handOver ends the leadership in favour of the node that an end entry names.
func (l *dataLife) handOver(ctx context.Context, e journal.End) error {
	if leader := l.node.journals.led(l.id); leader != nil {
		return leader.HandOver(ctx, e)
	}
	return ingest.ErrNotLeader
}

// close ends the life, and waits. Acknowledged records are flushed.
func (l *dataLife) close() error {
	close(l.stop)
	<-l.stopped
	return l.err
}

func (n *node) closeLeader(l *ingest.Leader) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	select {
	case <-l.Done():
		return nil // it ended on its own: reported already
	default:
		return l.Close(ctx)
	}
}
