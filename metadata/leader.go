package metadata

import (
	"context"
	"log/slog"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// LeaderOptions says where the metadata journal is and who leads it. All fields
// are needed.
type LeaderOptions struct {
	Store    objstore.Store
	Journal  journal.Config // of journal 0; Lead is implied
	State    *State         // nothing applied yet, or what Journal.Chain stands behind
	Defaults Defaults
	// Committed is told of every valid object, after it was applied.
	Committed func(o *journal.Object)
	Log       *slog.Logger
}

// Leader is the controller: it leads the metadata journal, or is on the way to,
// and commits what a Controller plans. One goroutine owns the Controller and the
// journal's driver.
type Leader struct {
	opt        LeaderOptions
	driver     *journal.Driver
	checkpoint *journal.Checkpointer
	controller *Controller // nil until led
	ids        ProducerIDBlock

	entries   []segment.Entry // planned, in no object yet
	planned   uint64          // entries planned in this leadership
	proposed  []uint64        // planned, as of each own object under way
	committed uint64          // of planned
	waiting   []*command      // ascending upTo
	starting  *command        // what must be committed before Ready
	nodeID    int32

	commands chan *command
	stop     chan struct{}
	ready    chan struct{}
	done     chan struct{}
	err      error
}

// command is one request. plan runs on the owner's goroutine and keeps its
// answer, which is told when everything planned by then is committed.
type command struct {
	plan func(c *Controller) ([]segment.Entry, error)
	upTo uint64
	done chan error // capacity 1
}

// StartLeader begins to read the metadata journal, to fence it and to lead it.
func StartLeader(opt LeaderOptions) *Leader {
	opt.Journal.Lead = true
	l := &Leader{
		opt: opt, commands: make(chan *command),
		checkpoint: journal.NewCheckpointer(opt.Store, opt.Journal.NewID, opt.Journal.Chain.Last.Seq),
		stop:       make(chan struct{}),
		ready:      make(chan struct{}), done: make(chan struct{}),
	}
	l.driver = journal.NewDriver(opt.Store, opt.Journal, journal.Hooks{
		Apply:   l.apply,
		Led:     func(uint32) { l.led() },
		AtHead:  func() {},
		Stalled: func(uint64) { l.fail(ErrUnavailable) },
		Ended:   func(err error) { l.err = err },
	}, opt.Log)
	go l.run()
	return l
}

// Ready is closed when this node is the controller and has a broker id.
func (l *Leader) Ready() <-chan struct{} { return l.ready }

// Done is closed when the Leader has ended; Err tells why.
func (l *Leader) Done() <-chan struct{} { return l.done }

// Err is why the Leader ended, once Done is closed; nil after Close.
func (l *Leader) Err() error { return l.err }

// NodeID is this data folder's broker id, once Ready is closed.
func (l *Leader) NodeID() int32 { return l.nodeID }

// Prove returns nil once all that was committed before the call is applied; see
// journal.Driver.
func (l *Leader) Prove(ctx context.Context) error { return l.driver.Prove(ctx) }

// Close stops leading and waits. The outcome of what is under way is unknown.
func (l *Leader) Close() {
	close(l.stop)
	<-l.done
}

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
	failed := make([]error, len(ids))
	for i := range failed {
		failed[i] = err
	}
	return failed
}

// Purge forgets a deleted topic all of whose partitions are sealed; see
// Controller.Purge.
func (l *Leader) Purge(ctx context.Context, topic segment.ID) error {
	return l.do(ctx, func(c *Controller) ([]segment.Entry, error) { return c.Purge(topic) })
}

// NextProducerID is Admin's. Ids come from blocks, so most calls commit nothing.
func (l *Leader) NextProducerID(ctx context.Context) (int64, error) {
	var id int64
	err := l.do(ctx, func(c *Controller) (entries []segment.Entry, err error) {
		var ok bool
		if id, ok = l.ids.Take(); ok {
			return nil, nil
		}
		if entries, l.ids, err = c.AllocateProducerIDs(ProducerIDBlockSize); err == nil {
			id, _ = l.ids.Take()
		}
		return entries, err
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// do plans on the owner's goroutine and waits until that is committed.
func (l *Leader) do(ctx context.Context, plan func(*Controller) ([]segment.Entry, error)) error {
	cmd := &command{plan: plan, done: make(chan error, 1)}
	select {
	case l.commands <- cmd:
	case <-ctx.Done():
		return ErrUnavailable
	case <-l.done:
		return ErrNotController
	}
	select {
	case err := <-cmd.done:
		return err
	case <-ctx.Done():
		return ErrUnavailable
	case <-l.done:
		return ErrUnavailable
	}
}

func (l *Leader) run() {
	defer close(l.done)
	defer l.checkpoint.Close()
	defer l.driver.Close()
	l.driver.Start()
	for l.err == nil {
		select {
		case ev := <-l.driver.Events():
			l.driver.Handle(ev)
		case cmd := <-l.commands:
			l.take(cmd)
		case err := <-l.checkpoint.Done():
			l.checkpoint.Finished(err, l.opt.Log)
		case <-l.stop:
			return
		}
		l.flush()
		l.writeCheckpoint()
	}
}

// writeCheckpoint bounds what the next start has to read.
func (l *Leader) writeCheckpoint() {
	core := l.driver.Core()
	if l.controller == nil || l.err != nil || !l.checkpoint.Due(core.Chain()) {
		return
	}
	chain, history := core.Checkpoint()
	l.checkpoint.Start(journal.CheckpointJob{Chain: chain, History: history, State: l.opt.State.Encode()})
}

// led takes over planning; what a new cluster and a new node lack comes first.
func (l *Leader) led() {
	l.controller = NewController(l.opt.State, l.opt.Defaults)
	l.starting = &command{done: make(chan error, 1), plan: func(c *Controller) ([]segment.Entry, error) {
		entries, err := c.Bootstrap()
		if err != nil {
			return nil, err
		}
		more, id, err := c.RegisterNode(l.opt.Journal.Node)
		l.nodeID = id
		return append(entries, more...), err
	}}
	l.take(l.starting)
}

func (l *Leader) take(cmd *command) {
	if l.controller == nil {
		cmd.done <- ErrUnavailable
		return
	}
	entries, err := cmd.plan(l.controller)
	if err != nil {
		cmd.done <- err
		if cmd == l.starting {
			l.err = err
		}
		return
	}
	l.entries = append(l.entries, entries...)
	l.planned += uint64(len(entries))
	cmd.upTo = l.planned
	l.waiting = append(l.waiting, cmd)
	l.answer()
}

// answer tells those whose plans are committed.
func (l *Leader) answer() {
	for len(l.waiting) > 0 && l.waiting[0].upTo <= l.committed {
		cmd := l.waiting[0]
		l.waiting = l.waiting[1:]
		cmd.done <- nil
		if cmd == l.starting {
			close(l.ready)
		}
	}
}

// fail tells those who wait that the bucket does not answer. Their changes may
// still be committed; asking again is safe.
func (l *Leader) fail(err error) {
	kept := l.waiting[:0]
	for _, cmd := range l.waiting {
		if cmd == l.starting {
			kept = append(kept, cmd)
			continue
		}
		cmd.done <- err
	}
	l.waiting = kept
}

// flush sends what is planned as soon as the journal has room: changes are few,
// and people wait for them.
func (l *Leader) flush() {
	core := l.driver.Core()
	for l.err == nil && len(l.entries) > 0 && core.Room() {
		n := fitting(l.entries)
		h := core.Header()
		h.Object, h.BuiltMs = l.opt.Journal.NewID(), l.opt.Journal.NowMs()
		entries := l.entries[:n:n]
		data, footer, err := segment.Build(h, entries, nil)
		if err != nil {
			l.err = err
			return
		}
		l.entries = l.entries[n:]
		l.proposed = append(l.proposed, l.planned-uint64(len(l.entries)))
		l.driver.Propose(&journal.Object{Footer: footer, Entries: entries}, data)
	}
}

// flushBytes is the most payload of one object, far below what an object may hold.
const flushBytes = 8 << 20

// fitting is how many entries go into one object, at least one.
func fitting(entries []segment.Entry) int {
	n, bytes := 0, 0
	for n < len(entries) && n < segment.MaxEntries && (n == 0 || bytes+len(entries[n].Payload) <= flushBytes) {
		bytes += len(entries[n].Payload)
		n++
	}
	return n
}

func (l *Leader) apply(o *journal.Object, own bool) error {
	if err := l.opt.State.Apply(o.Footer, o.Entries); err != nil {
		return err
	}
	l.opt.Committed(o)
	if own && o.Footer.Header.Kind == segment.KindData {
		l.committed = l.proposed[0]
		l.proposed = l.proposed[1:]
		l.answer()
	}
	return nil
}
