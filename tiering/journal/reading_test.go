package journal

import (
	"errors"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

func TestReaderChecksTheFloorAfterAFenceOrAVoid(t *testing.T) {
	w := newWorld(t)
	w.lead()
	n := w.add(w.config(false))
	n.answer(0) // floor at the start
	n.answer(0) // the fence
	w.floor = 2
	n.settle()
	if !errors.Is(n.err, ErrBelowFloor) || len(n.log) != 0 {
		t.Fatalf("applied %v, ended with %v, want %v", n.log, n.err, ErrBelowFloor)
	}
}

func TestObjectThatDoesNotFollowIsBroken(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.propose()
	n.propose()
	n.settle()
	chain := n.core.Chain()
	for name, h := range map[string]segment.Header{
		"other predecessor":         {Kind: segment.KindData, Epoch: 1, Seq: 6, Prev: chain.Fence},
		"data of an unopened epoch": {Kind: segment.KindData, Epoch: 2, Seq: 6, Prev: n.own[0]},
		"epoch left out":            {Kind: segment.KindFence, Epoch: 3, Seq: 6, Prev: n.own[0]},
		"fence of another log":      {Kind: segment.KindFence, Epoch: 2, Seq: 6, Prev: chain.Fence},
		"filler after settling":     {Kind: segment.KindFiller, Epoch: 1, Seq: 6, Prev: chain.Fence},
	} {
		h.Confirmed = 5
		w.place(h)
		reader := w.add(w.config(false))
		reader.settle()
		if !errors.Is(reader.err, ErrBroken) || len(reader.log) != 5 {
			t.Errorf("%s: applied %d, ended with %v, want 5 and %v", name, len(reader.log), reader.err, ErrBroken)
		}
	}
}

func TestHoleInTheMiddleIsNotTakenForTheEnd(t *testing.T) {
	for name, tc := range map[string]struct{ from, to uint64 }{
		"one segment":                 {6, 6},
		"more segments than a window": {6, 11},
		"everything but the last two": {1, 13},
		"the fence of the leadership": {1, 1},
		"fillers":                     {2, 4},
		"the segment before the last": {14, 14},
	} {
		w := newWorld(t)
		n := w.lead()
		for range 11 { // seqs 5 to 15, each confirmed before the next
			n.propose()
			n.settle()
		}
		for seq := tc.from; seq <= tc.to; seq++ {
			delete(w.objects, seq)
		}
		before := len(w.objects)
		m := w.add(w.config(true))
		m.settle()
		if !errors.Is(m.err, ErrBroken) || m.led {
			t.Errorf("%s: led %v, ended with %v, want %v", name, m.led, m.err, ErrBroken)
		}
		if len(w.objects) != before {
			t.Errorf("%s: something was written into the hole", name)
		}
	}
}

func TestVoidOfALeaderThatHadConfirmedTheFencesPlaceIsBroken(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	for range 3 { // seqs 5, 6, 7
		n.propose()
		n.settle()
	}
	w.place(segment.Header{Kind: segment.KindFence, Epoch: 2, Seq: 6, Prev: n.own[0], Confirmed: 5}) // in a hole
	reader := w.add(w.config(false))
	reader.settle()
	if !errors.Is(reader.err, ErrBroken) {
		t.Fatalf("reader ended with %v, want %v", reader.err, ErrBroken)
	}
}

func TestGapThatWasDeletedDuringAReadIsBelowTheFloorNotBroken(t *testing.T) {
	w := newWorld(t)
	leader := w.lead()
	n := w.add(w.config(true))
	for len(n.pending) > 0 { // up to the listing beyond the gap at seq 5
		if _, ok := n.pending[0].(LookBeyond); ok {
			break
		}
		n.answer(0)
	}
	for range 6 { // the log goes on, all of it confirmed
		leader.propose()
		leader.settle()
	}
	n.answer(0) // shows segments beyond: seq 5 must be there
	delete(w.objects, 5)
	w.floor = 6
	n.settle()
	if !errors.Is(n.err, ErrBelowFloor) {
		t.Fatalf("ended with %v, want %v", n.err, ErrBelowFloor)
	}
}

func TestGapIsTheEndOnlyOfALogWhoseFloorIsNotAboveIt(t *testing.T) {
	w := newWorld(t)
	leader := w.lead()
	f := w.add(w.config(false))
	f.settle() // stands at seq 5
	leader.propose()
	leader.settle()
	delete(w.objects, 5)
	w.floor = 6
	f.step(Prove{})
	f.settle()
	if f.proved != 0 || !errors.Is(f.err, ErrBelowFloor) {
		t.Fatalf("proved %d, ended with %v, want %v", f.proved, f.err, ErrBelowFloor)
	}
}

func TestBucketThatLacksTheWitnessIsForeign(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	ref := n.propose()
	n.settle()
	for name, witness := range map[string]segment.Ref{
		"cut short": {Seq: ref.Seq + 1, Object: segment.ID{5}},
		"replaced":  {Seq: ref.Seq, Object: segment.ID{5}},
	} {
		cfg := w.config(true)
		cfg.Witness = witness
		m := w.add(cfg)
		m.settle()
		if !errors.Is(m.err, ErrForeign) {
			t.Errorf("%s: %v, want %v", name, m.err, ErrForeign)
		}
	}
}

func TestFollowerProvesByReadingToAGapThatItLooksForAfterwards(t *testing.T) {
	w := newWorld(t)
	leader := w.lead()
	f := w.add(w.config(false))
	f.settle()
	leader.propose()
	leader.settle()
	f.step(Prove{})
	f.settle()
	if f.proved != 1 || f.log[len(f.log)-1] != leader.own[0] {
		t.Fatalf("proved %d having applied %v, want it to include %v", f.proved, f.log, leader.own[0])
	}
}

func TestDamageOnTheWayIsReadAgain(t *testing.T) {
	damaged := GotObject{Err: &segment.CorruptError{Reason: "a bit flipped"}}
	for reads, want := range map[int]bool{1: true, maxDamagedReads - 1: true, maxDamagedReads: false} {
		w := newWorld(t)
		w.lead()
		n := w.add(w.config(false))
		for left := reads; len(n.pending) > 0; {
			get, ok := n.pending[0].(Get)
			if !ok || left == 0 {
				n.answer(0)
				continue
			}
			left--
			n.pending = n.pending[1:]
			n.step(GotObject{Token: get.Token, Err: errLost}) // failures of other kinds do not count
			n.answer(0)
			get = n.pending[0].(Get)
			n.pending = n.pending[1:]
			n.step(GotObject{Token: get.Token, Err: damaged.Err})
		}
		if got := n.err == nil; got != want {
			t.Errorf("after %d damaged reads: goes on %v, want %v (%v)", reads, got, want, n.err)
		}
	}
}
