package metadata

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// proposer is the part of the metadata journal that leading needs; *journal.Owner has it.
type proposer interface {
	Room() bool
	Header() segment.Header
	Now() time.Time
	Propose(o *journal.Object, bytes segment.Encoded)
}

// leading is the journal.Machine of one leadership: the planned changes, those under
// way, and the requests that wait for them. It is owned by one goroutine.
type leading struct {
	opt        LeaderOptions
	journal    proposer
	controller *Controller // nil until led
	ids        ProducerIDBlock

	entries   []segment.Entry // planned, in no object yet
	planned   uint64          // entries planned in this leadership
	proposed  []uint64        // planned, as of each own object under way
	committed uint64          // of planned
	waiting   []*command      // ascending upTo
	following []*command      // committed; the data journals have to follow
	undone    undone
	starting  *command // must be committed before the leader is ready
	ready     bool     // the node is the controller
	nodeID    int32
	onReady   func(nodeID int32) // called once; may be nil
	failed    error              // why the leadership cannot go on

	floor *journal.FloorPlan // for the next object

	handOver func(journal.End) error // hands the journal over, once nothing is under way
	takeBack func() bool             // reports whether the leadership goes on
	next     *journal.End            // the journal is to be handed over with it: nothing is planned
	ending   bool                    // handOver was called
	ended    bool                    // the leadership is over
	onOver   func(reason error)      // called after OnLost; nil: no hand-over waits for that
}

// command is one request. plan runs on the owner's goroutine and keeps its
// answer. done gets nil when everything planned by then is committed, and the
// data journals have followed it as far as follow requires.
type command struct {
	plan   func(c *Controller) ([]segment.Entry, error)
	follow func(l *leading) awaited // nil: the journals need not follow
	done   chan error               // capacity 1

	upTo      uint64
	awaited   awaited     // once it is committed
	committed atomic.Bool // and the plan's answer may be read by any goroutine
}

func newLeading(opt LeaderOptions, p proposer) *leading {
	return &leading{opt: opt, journal: p}
}

// Led takes over planning; first come the entries that a new cluster and a new
// node lack.
func (l *leading) Led(epoch uint32) {
	l.opt.OnLed(epoch)
	l.controller = NewController(l.opt.State, l.opt.Defaults)
	l.starting = &command{done: make(chan error, 1), plan: func(c *Controller) ([]segment.Entry, error) {
		entries, err := c.Bootstrap()
		if err != nil {
			return nil, err
		}
		more, id, err := l.register(c)
		l.nodeID = id
		return append(entries, more...), err
	}}
	l.take(l.starting)
}

// register plans the registration of this node.
func (l *leading) register(c *Controller) ([]segment.Entry, int32, error) {
	if l.opt.Run == nil {
		return c.RegisterNode(l.opt.Journal.Node)
	}
	return c.StartNode(l.opt.Journal.Node, *l.opt.Run)
}

func (l *leading) take(cmd *command) {
	if l.controller == nil {
		cmd.done <- ErrUnavailable
		return
	}
	if l.next != nil {
		cmd.done <- ErrNotController
		return
	}
	entries, err := cmd.plan(l.controller)
	if err != nil {
		cmd.done <- err
		if cmd == l.starting {
			l.failed = err
		}
		return
	}
	l.add(entries)
	cmd.upTo = l.planned
	l.waiting = append(l.waiting, cmd)
	l.answer()
}

// add takes planned entries, which flush sends.
func (l *leading) add(entries []segment.Entry) {
	l.entries = append(l.entries, entries...)
	l.planned += uint64(len(entries))
}

// answer answers the commands whose plans are committed.
func (l *leading) answer() {
	for len(l.waiting) > 0 && l.waiting[0].upTo <= l.committed {
		cmd := l.waiting[0]
		l.waiting = l.waiting[1:]
		if cmd == l.starting {
			l.ready = true
			if l.onReady != nil {
				l.onReady(l.nodeID)
			}
		}
		if cmd.follow == nil {
			cmd.done <- nil
			continue
		}
		cmd.awaited = cmd.follow(l)
		cmd.committed.Store(true)
		l.following = append(l.following, cmd)
	}
}

// Stalled answers commands that wait for a bucket that does not answer. Their
// changes may still be committed; asking again is safe.
func (l *leading) Stalled(uint64) {
	kept := l.waiting[:0]
	for _, cmd := range l.waiting {
		if cmd == l.starting {
			kept = append(kept, cmd)
			continue
		}
		cmd.done <- ErrUnavailable
	}
	l.waiting = kept
	l.following = slices.DeleteFunc(l.following, func(cmd *command) bool {
		if len(cmd.awaited.topics) == 0 {
			return false // it waits for data journals only
		}
		cmd.done <- errNotFollowed
		return true
	})
}

// Progress completes the changes that the data journals have followed. It sends
// changes as soon as the journal has room: there are few, and people wait for
// them.
func (l *leading) Progress() (next time.Time, err error) {
	if l.controller == nil {
		return time.Time{}, nil
	}
	if err := l.seeThrough(); err != nil {
		return time.Time{}, err
	}
	now := l.journal.Now()
	if err := l.flush(); err != nil {
		return time.Time{}, err
	}
	l.endHandingOver()
	return earlier(l.watchUndone(now), l.nextPurge(now)), nil
}

func (l *leading) flush() error {
	for l.failed == nil && len(l.entries) > 0 && l.journal.Room() {
		n := fitting(l.entries)
		h := l.journal.Header()
		h.Object, h.BuiltMs = l.opt.Journal.NewID(), l.opt.Journal.NowMs()
		entries := l.entries[:n:n]
		if l.floor != nil && n < segment.MaxEntries {
			entries = append(entries, l.floor.Entry())
			l.floor = nil
		}
		bytes, footer, err := segment.Encode(nil, h, entries, nil)
		if err != nil {
			return err
		}
		o, err := journal.NewObject(footer, entries)
		if err != nil {
			return err
		}
		l.entries = l.entries[n:]
		l.proposed = append(l.proposed, l.planned-uint64(len(l.entries)))
		l.journal.Propose(o, bytes)
	}
	return l.failed
}

// flushBytes is the most payload of one object, far below the limit of an
// object.
const flushBytes = 8 << 20

// fitting returns how many entries go into one object, at least one.
func fitting(entries []segment.Entry) int {
	n, bytes := 0, 0
	for n < len(entries) && n < segment.MaxEntries && (n == 0 || bytes+len(entries[n].Payload) <= flushBytes) {
		bytes += len(entries[n].Payload)
		n++
	}
	return n
}

// Apply implements journal.Machine.
func (l *leading) Apply(o *journal.Object, own bool) error {
	if err := l.opt.State.Apply(o.Footer, o.Entries); err != nil {
		return err
	}
	l.opt.Committed(o)
	if own && o.Footer.Header.Kind == segment.KindData && o.End == nil {
		l.committed = l.proposed[0]
		l.proposed = l.proposed[1:]
		l.answer()
	}
	return nil
}

// nextProducerID takes an id from the block, or from a new one.
func (l *leading) nextProducerID(c *Controller) (entries []segment.Entry, id int64, err error) {
	if id, ok := l.ids.Take(); ok {
		return nil, id, nil
	}
	if entries, l.ids, err = c.AllocateProducerIDs(ProducerIDBlockSize); err == nil {
		id, _ = l.ids.Take()
	}
	return entries, id, err
}

// checkCheckpoint returns why no node could start from a checkpoint of journal
// 0, or nil.
func (s *State) checkCheckpoint(_ context.Context, _ objstore.Store, c *journal.Checkpoint) error {
	s.mu.RLock()
	level := s.img.supported
	s.mu.RUnlock()
	return NewUpTo(level).Restore(c.State)
}

// because adds the reason to an answer.
func because(answer, reason error) error {
	if reason == nil {
		return answer
	}
	return fmt.Errorf("%w: %w", answer, reason)
}

// Checkpointed keeps a plan for the floor until the next object: an idle journal
// writes none for it.
func (l *leading) Checkpointed(res journal.CheckpointResult) (hurry bool) {
	if res.Plan != nil {
		l.floor = res.Plan
	}
	return false
}

// PlanCheckpoint implements journal.Machine.
func (l *leading) PlanCheckpoint(chain journal.Chain, history journal.History) journal.CheckpointJob {
	return journal.CheckpointJob{Chain: chain, History: history, State: l.opt.State.Encode()}
}

// Ready implements journal.Machine: the node is the controller and has a broker id.
func (l *leading) Ready() bool { return l.ready }

// AtHead implements journal.Machine.
func (l *leading) AtHead() {}

// Deposed implements journal.Machine. A life calls Ended in its place.
func (l *leading) Deposed(err error) error { return err }

// Ended implements journal.Machine. Requests that wait have an unknown outcome. A committed
// change is success, unless its answer promises more about the data journals.
func (l *leading) Ended(err error) {
	l.opt.OnEnding(err)
	for _, cmd := range l.waiting {
		cmd.done <- because(ErrUnavailable, err)
	}
	for _, cmd := range l.following {
		if cmd.awaited.courtesy {
			cmd.done <- nil
			continue
		}
		cmd.done <- because(errNotFollowed, err)
	}
	l.waiting, l.following = nil, nil
	l.ended = true
	if l.undone.reported {
		l.opt.OnUndone(nil)
	}
}
