package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
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
			w.put(p.Seq, p.Bytes.Memory.Bytes())
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
	if !bytes.Equal(again.Bytes.Memory.Bytes(), p.Bytes.Memory.Bytes()) {
		t.Fatal("sent other bytes for the same seq")
	}
	w.put(p.Seq, p.Bytes.Memory.Bytes()) // the first one lands late: the second meets it
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
			w.add(w.config(true)).stays = t.Rand.IntN(2) == 0
		}
		w.add(w.config(false)).stays = true
		t.Steps(50+t.Rand.IntN(400), func(r *rand.Rand) {
			w.randomStep(r, &late)
			if r.IntN(100) == 0 && len(w.nodes) < 8 {
				w.add(w.config(true))
			}
		})
		if err := errors.Join(w.check(), w.checkMemory(late)); err != nil {
			t.Fatal(err)
		}
	},
}

func TestRandomSchedules(t *testing.T) { seeded.Run(t, randomSchedules, 2000, 2000) }
