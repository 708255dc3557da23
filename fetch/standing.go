package fetch

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/varvelog/varve/tiering/partlog"
)

// Standing is the partitions that a client polls again and again. A Fetch of it looks
// only at the partitions that the client or a journal has changed, and at those whose last
// answer was not empty. So the cost of a poll grows with the changes, not with the
// partitions.
//
// A partition is left out of a Fetch only if the client knows its state. That is so when
// the last look found no records and no error, and the answer was settled. Since then
// neither the partition nor the epoch of its journal may have moved.
//
// A Standing is for one goroutine at a time.
type Standing struct {
	homes      map[uint32]*home // by journal: where the partitions are attached
	slots      []*standing      // nil: free
	partitions int              // in slots
	looked     []looked         // by the last Fetch, until its answer is settled
	wake       chan struct{}    // capacity 1

	mu    sync.Mutex
	moved []*standing // guarded by mu: to be looked at
}

// standing is one partition of a Standing.
type standing struct {
	Partition
	of      *Standing
	slot    int32
	asked   bool   // it is part of the Fetch under way
	queued  bool   // it is in moved; guarded by the lock of the Standing
	removed bool   // from the Standing
	order   uint64 // a Fetch serves lower ones first
	home    *home  // the journal that notifies it of moves; nil if none does
}

// home is a journal in which partitions of a Standing live.
type home struct {
	state *partlog.State
	epoch uint32 // of the journal, before the last look at a partition
}

// looked is a partition that a Fetch looked at.
type looked struct {
	*standing
	quiet bool // there was nothing, so that it need not be looked at again
}

// NewStanding returns a Standing without partitions.
func NewStanding() *Standing {
	return &Standing{homes: make(map[uint32]*home), wake: make(chan struct{}, 1)}
}

// Set adds the partition of a slot, a small number that the caller chooses, or changes
// it. Lower orders are served first.
func (s *Standing) Set(slot int32, order uint64, p Partition) {
	if more := int(slot) + 1 - len(s.slots); more > 0 {
		s.slots = append(s.slots, make([]*standing, more)...)
	}
	in := s.slots[slot]
	if in != nil && in.Key != p.Key {
		s.Remove(slot)
		in = nil
	}
	if in == nil {
		in = &standing{of: s, slot: slot}
		s.slots[slot] = in
		s.partitions++
	}
	in.Partition, in.order = p, order
	s.queue(in)
}

// At returns the partition of a slot.
func (s *Standing) At(slot int32) (p Partition, ok bool) {
	if int(slot) >= len(s.slots) || s.slots[slot] == nil {
		return Partition{}, false
	}
	return s.slots[slot].Partition, true
}

// Remove takes the partition of a slot out, if there is one.
func (s *Standing) Remove(slot int32) {
	if int(slot) >= len(s.slots) || s.slots[slot] == nil {
		return
	}
	s.slots[slot].removed = true
	s.slots[slot].detach()
	s.slots[slot] = nil
	s.partitions--
}

// Settle notes that the client gets the last answer. Partitions without records and
// errors are not looked at again until they change.
func (s *Standing) Settle() {
	for _, l := range s.looked {
		if !l.quiet {
			s.queue(l.standing)
		}
	}
	s.looked = nil
}

// unsettled has the partitions of an answer that was not settled looked at again.
func (s *Standing) unsettled() {
	for _, l := range s.looked {
		s.queue(l.standing)
	}
	s.looked = nil
}

// Unsettle has the next Fetch look at all partitions: the client does not have the state
// of an earlier answer.
func (s *Standing) Unsettle() {
	for _, p := range s.slots {
		if p != nil {
			s.queue(p)
		}
	}
}

// Close frees everything. The Standing must not be used again.
func (s *Standing) Close() {
	for slot := range s.slots {
		s.Remove(int32(slot))
	}
	s.slots, s.looked, s.moved = nil, nil, nil
}

// take returns the partitions to be looked at.
func (s *Standing) take() []*standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := s.moved
	s.moved = nil
	for _, p := range moved {
		p.queued = false
	}
	return slices.DeleteFunc(moved, func(p *standing) bool { return p.removed })
}

func (s *Standing) queue(p *standing) {
	s.mu.Lock()
	if !p.queued {
		p.queued = true
		s.moved = append(s.moved, p)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Moved implements partlog.Watcher.
func (p *standing) Moved() { p.of.queue(p) }

// attach has the journal notify the partition of moves, from before the look at it.
func (p *standing) attach(j journal) {
	if p.home != nil && p.home.state == j.State {
		return
	}
	p.detach()
	h := p.of.homes[j.id]
	if h == nil || h.state != j.State {
		h = &home{state: j.State, epoch: j.State.Epoch()}
		p.of.homes[j.id] = h
	}
	p.home = h
	j.State.Attach(p.Key, p)
}

func (p *standing) detach() {
	if p.home != nil {
		p.home.state.Detach(p.Key, p)
		p.home = nil
	}
}

// in calls fn for all partitions that are attached to h.
func (s *Standing) in(h *home, fn func(*standing)) {
	for _, p := range s.slots {
		if p != nil && p.home == h {
			fn(p)
		}
	}
}

// gather adds the partitions of a Standing that are to be looked at.
func (f *fetch) gather() {
	s := f.req.Standing
	if s == nil {
		return
	}
	f.visitHomes()
	if f.gatherMoved() {
		slices.SortFunc(f.parts, func(a, b position) int { return cmp.Compare(a.standing.order, b.standing.order) })
	}
}

// gatherMoved adds the partitions that have moved, and reports whether there are any.
func (f *fetch) gatherMoved() bool {
	before := len(f.parts)
	for _, p := range f.req.Standing.take() {
		if !p.asked {
			p.asked = true
			f.parts = append(f.parts, position{Partition: p.Partition, standing: p})
		}
	}
	return len(f.parts) > before
}

// visitHomes has all partitions of a journal looked at if it was replaced, or is in
// another epoch: watchers do not notice that.
func (f *fetch) visitHomes() {
	s := f.req.Standing
	for id, h := range s.homes {
		view, err := f.reader.cfg.Journal(id)
		switch {
		case err != nil || view.State != h.state:
			s.in(h, func(p *standing) { p.detach(); s.queue(p) })
			delete(s.homes, id)
		case view.State.Epoch() != h.epoch:
			h.epoch = view.State.Epoch()
			s.in(h, s.queue)
		}
		if err == nil {
			f.views[id] = view
		}
	}
}

// confirmHomes looks at the partitions of a Standing whose journal this node leads no
// more, so that confirm finds them. If the answer has all partitions, confirm alone
// decides: records are given without a question.
func (f *fetch) confirmHomes(ctx context.Context) {
	s, led := f.req.Standing, true
	if len(f.parts) == s.partitions {
		return
	}
	for id, h := range s.homes {
		if f.lost(ctx, journal{id: id, JournalView: f.views[id]}) != nil {
			s.in(h, s.queue)
			led = false
		}
	}
	if !led {
		f.look(ctx)
	}
}

// leave ends the Fetch of a Standing.
func (f *fetch) leave() {
	s := f.req.Standing
	s.looked = make([]looked, 0, len(f.parts))
	for i := range f.parts {
		p := &f.parts[i]
		p.standing.asked = false
		if !p.standing.removed {
			s.looked = append(s.looked, looked{p.standing, p.quiet()})
		}
	}
}

// quiet reports whether there was nothing: no records, no error, and no other node.
func (p *position) quiet() bool {
	return p.result.Err == nil && p.result.Elsewhere == 0 && len(p.extents) == 0 && p.page == nil
}
