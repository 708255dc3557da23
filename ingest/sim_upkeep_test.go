package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/varvelog/varve/testenv/sim"
	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/merge"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/upkeep"
)

// simUpkeep is a part of the upkeep of a leadership: a real Keeper with real steps, as code
// that waits for its answers in its process.
type simUpkeep struct {
	*sim.Routine
	n       *proc
	merger  *merge.Merger // of the part that merges
	clocks  *clocks.Clocks
	began   uint64     // seq of the metadata when the step of expiry began
	rested  bool       // it had nothing to merge, expire or compact lately
	carried []simCarry // entries that wait for their answers
	last    error      // of a step
	looked  uint64     // seq up to which something was left to do
}

// simCarry is a call of Carry that waits.
type simCarry struct {
	done     chan error
	answered func(error)
}

// startUpkeep begins to tidy the journal, in a leadership that takes requests.
func (n *proc) startUpkeep() {
	c := n.f.c
	if !c.shape.upkeep() {
		return
	}
	for part := range upkeep.Apart(upkeep.Steps{}) {
		n.p.Run(c.store, func(r *sim.Routine) {
			u := &simUpkeep{Routine: r, n: n}
			n.keepers = append(n.keepers, u)
			u.clocks = u.newClocks()
			k := upkeep.New(upkeep.Options{
				Steps: u.steps()[part], Clock: u.Routine, Pause: c.shape.Upkeep.Pause, Log: slog.New(slog.DiscardHandler), OnTrouble: u.trouble,
			})
			if err := k.Run(n.ctx); errors.Is(err, journal.ErrEnded) {
				c.Count("upkeep ended")
				if n.core.over() == nil {
					c.Fail("%s: the upkeep ends in a leadership that goes on: %w", n.p.Name, err)
				}
			}
		}, func() {})
	}
}

// steps are those of a real node. Each is made when it runs first: another part may have it.
func (u *simUpkeep) steps() [][]upkeep.Step {
	return upkeep.Apart(upkeep.Steps{
		Expire: lazily(u.expireStep), Drop: lazily(u.dropStep), Merge: lazily(u.mergeStep),
		Compact: lazily(u.compactStep), Release: lazily(u.releaseStep), Delete: lazily(u.deleteStep), Pages: lazily(u.pagesStep),
	})
}

func lazily(begin func() upkeep.Run) upkeep.Run {
	var run upkeep.Run
	return func(ctx context.Context) (bool, error) {
		if run == nil {
			run = begin()
		}
		return run(ctx)
	}
}

// quiet is a step that the world does without.
func quiet(context.Context) (bool, error) { return false, nil }

func (u *simUpkeep) mergeStep() upkeep.Run {
	n, c := u.n, u.n.f.c
	var err error
	u.merger, err = merge.NewMerger(merge.Options{
		Config: c.shape.Upkeep.Merge, Cluster: simChain.Cluster, Journal: simJournal, Node: n.f.id, Incarnation: n.incarnation,
		Store: u, State: n.state, Carry: u.Carry, Memory: u.memory, Page: u.page, Topic: n.topicOf,
		Disk: &simDisk{n: n}, Room: func() int64 { return math.MaxInt64 }, Clock: u, NewID: c.newID, Sequential: true,
	})
	if err != nil {
		c.Fail("%s: %w", n.p.Name, err)
		return quiet
	}
	n.upkeep = u
	return u.merge
}

func (u *simUpkeep) merge(ctx context.Context) (bool, error) {
	before := u.merger.Stats()
	again, err := u.merger.Run(ctx)
	u.rested = !again && err == nil
	u.n.f.c.checkDebt(u.n.p.Name, u.n.state)
	after := u.merger.Stats()
	for level, jobs := range after.Jobs {
		if jobs > before.Jobs[level] {
			u.n.f.c.Count(fmt.Sprintf("merged, level %d", level))
		}
	}
	return again, err
}

// checkDebt: the bytes that are to be merged are those of the log's extents. Only of those in
// pages they are not known.
func (c *cluster) checkDebt(who string, state *partlog.State) {
	state.Survey(func(s *partlog.Survey) {
		if s.FirstPage != nil {
			return
		}
		left := int64(0)
		for at := max(s.Merged, s.View.Start); at < s.View.End; {
			extents, _, _, _ := state.Find(s.Key, at, 100)
			for i := range extents {
				left += int64(extents[i].Length)
				at = extents[i].Last + 1
			}
		}
		if s.DeletedBytes > 0 {
			c.Count("deleted before merged")
		}
		if s.JournalBytes != left {
			c.Fail("%s: %v has %d bytes that are to be merged, want %d", who, s.Key, s.JournalBytes, left)
		}
	})
}

// trouble: a step failed, or has succeeded again.
func (u *simUpkeep) trouble(step string, err error) {
	c := u.n.f.c
	u.last = err
	switch {
	case err == nil:
		c.Count("step went on: " + step)
	case errors.Is(err, merge.ErrMismatch):
		c.Count("output differed")
	default:
		c.Count("step failed: " + step)
		if c.undisturbed() && !u.Dead() {
			c.Fail("%s: step %s: %w", u.n.p.Name, step, err)
		}
		c.Logf("%s: step %s: %v", u.n.p.Name, step, err)
	}
}

// Carry commits entries, as Leader.Carry does.
func (u *simUpkeep) Carry(ctx context.Context, entries []segment.Entry) error {
	return u.carryWanted(ctx, entries, nil)
}

func (u *simUpkeep) carryWanted(_ context.Context, entries []segment.Entry, wanted func(segment.Entry) bool) error {
	var outcome error
	dead := u.Wait(func(answered func()) {
		done := make(chan error, 1)
		u.carried = append(u.carried, simCarry{done, func(err error) { outcome = err; answered() }})
		u.n.owner.Do(func() { u.n.core.carryWanted(entries, wanted, done) })
	})
	if dead != nil {
		return dead
	}
	if errors.Is(outcome, ErrNotLeader) || errors.Is(outcome, ErrClosed) {
		return fmt.Errorf("%w: %w", journal.ErrEnded, outcome)
	}
	return outcome
}

// Create counts the uploads of leaders that were deposed.
func (u *simUpkeep) Create(ctx context.Context, key string, body objstore.Body) error {
	u.deposed("deposed leader uploads")
	return u.Routine.Create(ctx, key, body)
}

// Delete counts the deletions of leaders that were deposed.
func (u *simUpkeep) Delete(ctx context.Context, key string) error {
	u.deposed("deposed leader deletes")
	return u.Routine.Delete(ctx, key)
}

func (u *simUpkeep) deposed(name string) {
	if fences := u.n.f.c.truth.fences; len(fences) > 0 && fences[len(fences)-1].epoch > u.n.core.epoch {
		u.n.f.c.Count(name)
	}
}

// checkCarried answers calls of Carry.
func (n *proc) checkCarried() {
	for _, u := range n.keepers {
		waiting := u.carried
		u.carried = nil
		for _, x := range waiting {
			select {
			case err := <-x.done:
				n.p.After(0, "carried", func() { x.answered(err) })
			default:
				u.carried = append(u.carried, x)
			}
		}
	}
}

// memory: a leader has some of the newest objects.
func (u *simUpkeep) memory(name segment.Name) ([]byte, func(), bool) {
	c := u.n.f.c
	b := c.store.Object(name.Key())
	if b == nil || !c.Chance(0.3) {
		return nil, nil, false
	}
	return b, func() {}, true
}

// page reads a page.
func (u *simUpkeep) page(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	return readPage(ctx, u, p)
}

func readPage(ctx context.Context, s objstore.Store, p *partlog.Page) (*partlog.PageExtents, error) {
	return restore.NewRemoved(s, func(uint32) journal.Chain { return simChain }).Read(ctx, p, nil)
}

// topicOf is a topic as jobs see it, false if it does not exist.
func (n *proc) topicOf(id segment.ID) (merge.Topic, bool) {
	t := n.view.topic(id)
	topic := merge.Topic{Name: n.f.c.names[id], Class: fmt.Sprint(id[1] % 2)}
	if t.deleted {
		topic.Class = "deleted"
	}
	return topic, t.exists()
}

// explain says how far the upkeep is.
func (u *simUpkeep) explain() string {
	if u == nil {
		return ""
	}
	s := fmt.Sprintf("; upkeep rested %v, %d entries wait, %d intents", u.rested, len(u.carried), len(u.n.state.Intents()))
	u.n.state.Survey(func(x *partlog.Survey) {
		if x.Merged < x.View.End {
			s += fmt.Sprintf(", %v merged up to %d of %d to %d", x.Key, x.Merged, x.View.Start, x.View.End)
		}
	})
	if u.last != nil {
		s += ", last failure: " + u.last.Error()
	}
	return s
}

// upkept: nothing is left to merge.
func (n *proc) upkept() bool {
	c, u := n.f.c, n.upkeep
	if !c.shape.upkeep() {
		return true
	}
	if u == nil || !u.rested || len(n.state.Intents()) > 0 {
		return false
	}
	if u.looked == n.state.Head() {
		return false
	}
	merged := true
	n.state.Survey(func(s *partlog.Survey) {
		if s.View.Dropped {
			return
		}
		if n.view.topic(s.Topic).purged && n.believed() {
			merged = false // it is to be dropped
		}
		if _, ok := n.topicOf(s.Topic); ok && s.Merged < s.View.End && s.View.Start < s.View.End {
			merged = false
		}
	})
	if !merged || !n.swept() {
		u.looked = n.state.Head()
		return false
	}
	return true
}
