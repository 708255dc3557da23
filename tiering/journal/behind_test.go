package journal

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

func (w *world) skip(a Skip) Event {
	if w.newest == nil {
		return Skipped{Token: a.Token, Err: errLost}
	}
	chain, history := w.newest.core.Checkpoint()
	return Skipped{Token: a.Token, Chain: chain, History: history}
}

// skips is a node that skips when the floor has passed it.
func (w *world) skips(lead bool) *node {
	cfg := w.config(lead)
	cfg.Skips = true
	n := w.add(cfg)
	n.stays = true
	return n
}

// passed has a leader go on until the floor has passed all other nodes. The newest
// checkpoint is of a place above the floor, and the log goes on.
func (w *world) passed(leader *node) {
	from := leader.core.Chain().Next
	for range 6 {
		leader.propose()
		leader.settle()
	}
	w.newest = w.add(w.config(false))
	w.newest.settle()
	w.floor = w.newest.core.Chain().Next
	for seq := from; seq < w.floor; seq++ {
		delete(w.objects, seq)
	}
	for range 3 {
		leader.propose()
		leader.settle()
	}
}

// isSkip reports whether the newest checkpoint is asked for, and nothing else.
func isSkip(pending []Action) bool {
	if len(pending) != 1 {
		return false
	}
	_, ok := pending[0].(Skip)
	return ok
}

// until answers everything until holds.
func (n *node) until(holds func([]Action) bool) {
	n.w.t.Helper()
	for range 100 {
		if holds(n.pending) {
			return
		}
		n.answer(0)
	}
	n.w.t.Fatalf("%v are pending", n.pending)
}

func TestAFollowerThatTheFloorHasPassedSkips(t *testing.T) {
	w := newWorld(t)
	leader := w.lead()
	f := w.skips(false)
	f.settle()
	applied := len(f.log)
	w.passed(leader)
	newest := w.newest
	w.newest = nil
	f.step(Prove{})
	f.until(isSkip)
	f.answer(0)
	if f.failed != 1 || len(f.pending) != 1 || f.err != nil {
		t.Fatalf("failed %d proofs, waits for %v: %v", f.failed, f.pending, f.err)
	}
	f.step(Poke{})
	f.step(Prove{})
	f.until(isSkip) // after the pause, and not before
	w.newest = newest
	f.settle()
	chain, head := f.core.Chain(), leader.core.Chain()
	if f.err != nil || f.proved != 2 || len(f.log) != applied+3 || chain.Next != head.Next || chain.Epoch != head.Epoch || f.losses > 0 {
		t.Errorf("applied %d objects of 3, proved %d, stands at %+v: %v", len(f.log)-applied, f.proved, chain, f.err)
	}
	leader.propose()
	leader.settle()
	if f.step(Poke{}); len(f.pending) != 1 {
		t.Errorf("does not follow on: %v", f.pending)
	}
}

// TestACheckpointThatIsNotNewerIsNoneToSkipTo: a listing may lack the newest ones, and the
// state never goes back.
func TestACheckpointThatIsNotNewerIsNoneToSkipTo(t *testing.T) {
	w := newWorld(t)
	leader := w.lead()
	f := w.skips(false)
	f.settle()
	w.passed(leader)
	newest := w.newest
	w.newest = f
	next := f.core.Chain().Next
	f.step(Poke{})
	f.until(isSkip)
	f.answer(0)
	if _, pauses := f.pending[0].(Wait); !pauses || f.core.Chain().Next != next || f.err != nil {
		t.Fatalf("stands at seq %d, was at seq %d, waits for %T: %v", f.core.Chain().Next, next, f.pending[0], f.err)
	}
	w.newest = newest
	if f.settle(); f.core.Chain().Next != leader.core.Chain().Next {
		t.Errorf("stands at seq %d: %v", f.core.Chain().Next, f.err)
	}
}

// TestACandidateThatTheFloorHasPassedGivesUpFirst: it knew an old journal, and its fence does
// not count.
func TestACandidateThatTheFloorHasPassedGivesUpFirst(t *testing.T) {
	w := newWorld(t)
	n := w.skips(true)
	n.until(isFence)
	fence := n.pending[n.find(1)].(Put)
	leader := w.lead()
	w.passed(leader)
	w.floor = 2 // at least
	delete(w.objects, 1)
	n.pending = nil
	n.step(PutDone{Seq: 1, Token: fence.Token})
	n.until(isSkip)
	if n.losses != 1 || !errors.Is(n.lost, ErrBelowFloor) || n.core.Stands() || n.err != nil {
		t.Fatalf("%d ends, the last one by %v: %v", n.losses, n.lost, n.err)
	}
	n.step(Stand{Incarnation: segment.ID{4, 77}}) // asked for again while it waits
	n.step(Resign{})
	if n.step(Poke{}); !isSkip(n.pending) || n.losses != 2 {
		t.Fatalf("reads on without a checkpoint: %v", n.pending)
	}
	n.step(Stand{Incarnation: segment.ID{4, 78}})
	n.settle()
	if !n.led || !n.core.Leads() || n.err != nil {
		t.Fatalf("leads %v: %v", n.led, n.err)
	}
	led := 0
	n.core.History().LedSince(0, 100, func(uint32, segment.ID) { led++ })
	if led != 2 {
		t.Errorf("its history has %d leaderships, want that of the checkpoint and its own", led)
	}
	if h := w.header(n.core.Chain().Fence.Seq); h.Epoch != leader.core.Chain().Epoch+1 || h.Seq != leader.core.Chain().Next {
		t.Errorf("its fence is seq %d of epoch %d", h.Seq, h.Epoch)
	}
}

// TestASkipForgetsTheSuccessor: a fence that was skipped has made it void, maybe.
func TestASkipForgetsTheSuccessor(t *testing.T) {
	l := &Life{}
	l.ended = &testEnd
	if l.Skipped(); l.ended != nil {
		e, _ := l.Successor()
		t.Errorf("%+v is still the end of the newest leadership", e)
	}
}

// TestALeaderThatTheFloorHasPassedIsDeposed: another one has led since, and it has nothing of
// its own under way by which it would notice.
func TestALeaderThatTheFloorHasPassedIsDeposed(t *testing.T) {
	w := newWorld(t)
	old := w.skips(true)
	old.settle()
	old.propose()
	put := old.pending[old.find(old.core.Chain().Next)].(Put)
	old.pending = nil
	w.land(put) //nolint // the answer is lost
	leader := w.lead()
	w.passed(leader)
	for seq := range w.floor {
		if o := w.objects[seq]; o != nil && w.header(seq).Kind == segment.KindData {
			delete(w.objects, seq)
		}
	}
	old.step(Prove{})
	old.settle()
	if !errors.Is(old.lost, ErrBelowFloor) || old.core.Stands() || old.err != nil || old.core.Chain().Next != leader.core.Chain().Next {
		t.Errorf("deposed by %v, stands at seq %d: %v", old.lost, old.core.Chain().Next, old.err)
	}
}
