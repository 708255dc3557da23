package journal

import (
	"errors"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

func TestLostFenceIsBuiltAgainAboveTheWinner(t *testing.T) {
	w := newWorld(t)
	old := w.lead()
	n := w.add(w.config(true))
	for len(n.pending) > 0 { // up to its fence
		if _, ok := n.pending[0].(Put); ok {
			break
		}
		n.answer(0)
	}
	old.propose()
	old.settle()
	n.settle()
	if !n.led {
		t.Fatalf("does not lead: %v", n.err)
	}
	fence := n.core.Chain().Fence
	if h := w.header(fence.Seq); h.Epoch != 2 || h.Prev != old.own[0] {
		t.Fatalf("fence is %+v, want epoch 2 after %v", h, old.own[0])
	}
}

func TestSettlingVoidsWhatTheOldLeaderHadUnderWay(t *testing.T) {
	w := newWorld(t)
	old := w.lead()
	first, second := old.propose(), old.propose()
	n := w.add(w.config(true))
	for !isFence(n.pending) {
		n.answer(0)
	}
	n.answer(0) // its fence takes the first's place
	old.answer(old.find(second.Seq))
	n.settle()
	if !n.led || n.core.Chain().Fence.Seq != first.Seq {
		t.Fatalf("led %v with fence %v, want one at seq %d", n.led, n.core.Chain().Fence, first.Seq)
	}
	old.settle()
	if len(old.own) != 0 || !errors.Is(old.err, ErrFenced) {
		t.Fatalf("old leader confirmed %v, ended with %v", old.own, old.err)
	}
	for _, ref := range n.log {
		if ref == second {
			t.Fatal("a void was applied")
		}
	}
	fence := n.core.Chain().Fence
	next := n.propose()
	n.settle()
	if h := w.header(next.Seq); h.Prev != fence {
		t.Fatalf("the segment after the void follows %v, want the fence %v", h.Prev, fence)
	}
	if err := w.check(); err != nil {
		t.Fatal(err)
	}
}

func isFence(pending []Action) bool {
	_, ok := pending[0].(Put)
	return ok
}

func TestSettlingStopsAtAHigherEpoch(t *testing.T) {
	w := newWorld(t)
	n := w.add(w.config(true))
	for !isFence(n.pending) {
		n.answer(0)
	}
	n.answer(0)
	w.place(segment.Header{Kind: segment.KindFence, Epoch: 2, Seq: 2, Confirmed: 1, Prev: segment.Ref{Seq: 1, Object: w.header(1).Object}})
	n.settle()
	if !errors.Is(n.err, ErrFenced) || n.led {
		t.Fatalf("led %v, ended with %v, want %v", n.led, n.err, ErrFenced)
	}
}

// The window of a new leader may hold an object that this journal could not
// have: that ends the leadership, and nothing else.
func TestSettlingEndsAtWhatNoJournalCouldHold(t *testing.T) {
	for name, tc := range map[string]struct {
		h    segment.Header
		says string
	}{
		"another cluster's, of an older epoch": {segment.Header{Kind: segment.KindData, Cluster: segment.ID{9}, Epoch: 1, Confirmed: 1}, "of cluster"},
		"another cluster's, of a higher epoch": {segment.Header{Kind: segment.KindData, Cluster: segment.ID{9}, Epoch: 9, Confirmed: 1}, "of cluster"},
		"another journal's":                    {segment.Header{Kind: segment.KindData, Journal: testJournal + 1, Epoch: 9, Confirmed: 1}, "of journal"},
		"another seq's":                        {segment.Header{Kind: segment.KindData, Epoch: 2, Seq: 700, Confirmed: 1}, "seq 700"},
		"one that knows of the fence's seq":    {segment.Header{Kind: segment.KindData, Epoch: 1, Confirmed: 5}, "had confirmed seq 5"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lead()
			n := w.add(w.config(true))
			for !isFence(n.pending) {
				n.answer(0)
			}
			n.answer(0)
			const seq = testWindow + 2 // right behind the fence of epoch 2
			w.placeAt(seq, tc.h)
			n.settle()
			if !errors.Is(n.err, ErrBroken) || n.led || !strings.Contains(n.err.Error(), tc.says) {
				t.Fatalf("led %v, ended with %v, want %v with %q", n.led, n.err, ErrBroken, tc.says)
			}
		})
	}
}

func TestFenceBelowTheFloorDoesNotCount(t *testing.T) {
	w := newWorld(t)
	n := w.add(w.config(true))
	for !isFence(n.pending) {
		n.answer(0)
	}
	w.floor = 2 // the log moved on while the fence was under way
	n.settle()
	if !errors.Is(n.err, ErrBelowFloor) || n.led {
		t.Fatalf("led %v, ended with %v, want %v", n.led, n.err, ErrBelowFloor)
	}
}
