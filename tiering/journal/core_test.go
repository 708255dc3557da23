package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

func TestLeadsAnEmptyJournalAndCommitsInOrder(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	want := []segment.Ref{n.propose(), n.propose()}
	n.settle()
	if len(n.own) != 2 || n.own[0] != want[0] || n.own[1] != want[1] {
		t.Fatalf("confirmed %v, want %v", n.own, want)
	}
	if h := w.header(1); h.Kind != segment.KindFence || h.Epoch != 1 {
		t.Errorf("seq 1 is %+v, want the fence of epoch 1", h)
	}
	for seq := uint64(2); seq <= testWindow; seq++ {
		if h := w.header(seq); h.Kind != segment.KindFiller || h.Prev.Seq != 1 {
			t.Errorf("seq %d is %+v, want a filler that names the fence", seq, h)
		}
	}
	if h := w.header(5); h.Kind != segment.KindData || h.Prev.Seq != 1 || h.Confirmed != 4 {
		t.Errorf("first data segment is %+v, want one that names the fence", h)
	}
	if h := w.header(6); h.Prev != want[0] {
		t.Errorf("second data segment names %v, want %v", h.Prev, want[0])
	}
}

func TestStoredSegmentWaitsForLowerSeqs(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	first, second := n.propose(), n.propose()
	n.answer(n.find(second.Seq))
	if len(n.own) != 0 {
		t.Fatalf("seq %d confirmed while seq %d is unresolved", second.Seq, first.Seq)
	}
	n.answer(n.find(first.Seq))
	if len(n.own) != 2 {
		t.Fatalf("confirmed %v, want both", n.own)
	}
}

func TestWindowCountsFromTheLowestUnresolvedSeq(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	refs := []segment.Ref{n.propose(), n.propose(), n.propose(), n.propose()}
	if n.core.Room() {
		t.Fatal("room for a fifth segment in flight")
	}
	for _, ref := range refs[1:] {
		n.answer(n.find(ref.Seq))
	}
	if n.core.Room() {
		t.Fatal("stored segments above an unresolved one made room")
	}
	n.answer(n.find(refs[0].Seq))
	if !n.core.Room() {
		t.Fatal("no room after all were confirmed")
	}
}

func TestLostReplyIsReadBack(t *testing.T) {
	for name, err := range map[string]error{"reply lost": errLost, "412": objstore.ErrExists, "409": objstore.ErrConflict} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.lead()
			ref := n.propose()
			i := n.find(ref.Seq)
			p := n.pending[i].(Put)
			n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
			w.put(p.Seq, p.Data)
			n.step(PutDone{Seq: p.Seq, Token: p.Token, Err: err})
			if len(n.own) != 0 {
				t.Fatal("confirmed before it was read back")
			}
			n.settle()
			if len(n.own) != 1 || n.own[0] != ref {
				t.Fatalf("confirmed %v, want %v", n.own, ref)
			}
		})
	}
}

func TestAbsentIsSentAgainWithTheSameBytes(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	ref := n.propose()
	i := n.find(ref.Seq)
	p := n.pending[i].(Put)
	n.pending = append(n.pending[:i:i], n.pending[i+1:]...)
	n.step(PutDone{Seq: p.Seq, Token: p.Token, Err: errLost})
	for i := 0; i < len(n.pending); i++ { // read back: absent; pause; send again
		if _, ok := n.pending[i].(Put); ok {
			break
		}
		if wait, ok := n.pending[i].(Wait); !ok || wait.For != stallTick {
			n.answer(i)
			i = -1
		}
	}
	again := n.pending[n.find(ref.Seq)].(Put)
	if !bytes.Equal(again.Data, p.Data) {
		t.Fatal("sent other bytes for the same seq")
	}
	w.put(p.Seq, p.Data) // the first one lands late: the second meets it
	n.settle()
	if len(n.own) != 1 || n.own[0] != ref {
		t.Fatalf("confirmed %v, want %v", n.own, ref)
	}
}

func TestForeignObjectInPlaceOfOursEndsTheLeadership(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  segment.Kind
		epoch uint32
		want  error
	}{
		"higher epoch": {segment.KindFence, 2, ErrFenced},
		"lower epoch":  {segment.KindData, 1, ErrUnsettled},
		"same epoch":   {segment.KindData, 2, ErrTwin},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.lead()
			if tc.epoch < 2 || tc.want == ErrTwin { // needs a second leadership
				n = w.lead()
			}
			ref := n.propose()
			w.place(segment.Header{Kind: tc.kind, Epoch: tc.epoch, Seq: ref.Seq, Prev: n.core.Chain().Last, Confirmed: ref.Seq - 1})
			n.settle()
			if !errors.Is(n.err, tc.want) {
				t.Fatalf("ended with %v, want %v", n.err, tc.want)
			}
			if len(n.own) != 0 {
				t.Fatalf("confirmed %v", n.own)
			}
		})
	}
}

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

func TestLeaderWithSegmentsUnderWayProvesOnlyAboveTheFloor(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.propose()
	w.floor = 6 // its segment was stored, the log went on without it, and it was deleted
	n.step(Prove{})
	for i := 0; i < len(n.pending); i++ {
		if _, ok := n.pending[i].(Put); !ok {
			if wait, ok := n.pending[i].(Wait); !ok || wait.For != stallTick {
				n.answer(i)
				i = -1
			}
		}
	}
	if n.proved != 0 || !errors.Is(n.err, ErrBelowFloor) {
		t.Fatalf("proved %d, ended with %v, want %v", n.proved, n.err, ErrBelowFloor)
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

func TestLeaderProvesItsHeadByAnAbsentNextSeq(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.step(Prove{})
	if n.proved != 0 {
		t.Fatal("proved without asking the store")
	}
	n.settle()
	if n.proved != 1 {
		t.Fatalf("proved %d, want 1", n.proved)
	}
	w.place(segment.Header{Kind: segment.KindFence, Epoch: 2, Seq: 5, Confirmed: 4, Prev: n.core.Chain().Last})
	n.step(Prove{})
	n.settle()
	if n.proved != 1 || n.failed != 2 || !errors.Is(n.err, ErrFenced) {
		t.Fatalf("proved %d, failed %d, ended with %v: a fenced leader must not prove", n.proved, n.failed, n.err)
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

func TestStallIsReportedAndResolvedLater(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.propose()
	for range stallTicks {
		if len(n.stalled) != 0 {
			t.Fatal("reported too early")
		}
		for i, a := range n.pending {
			if wait, ok := a.(Wait); ok && wait.For == stallTick {
				n.answer(i)
				break
			}
		}
	}
	if len(n.stalled) != 1 {
		t.Fatalf("reported %v, want the one segment in flight", n.stalled)
	}
	n.settle()
	if len(n.own) != 1 {
		t.Fatal("a stalled segment was given up")
	}
}

// randomSchedules lets three contenders race with lost replies and late writes.
var randomSchedules = seeded.Test[struct{}]{
	Run: func(t *seeded.T, _ struct{}) {
		w := newWorld(t)
		var late []Put
		for range 1 + t.Rand.IntN(3) {
			w.add(w.config(true))
		}
		w.add(w.config(false))
		t.Steps(50+t.Rand.IntN(400), func(r *rand.Rand) {
			w.randomStep(r, &late)
			if r.IntN(100) == 0 && len(w.nodes) < 8 {
				w.add(w.config(true))
			}
		})
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	},
}

func TestRandomSchedules(t *testing.T) { seeded.Run(t, randomSchedules, 2000, 2000) }

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
