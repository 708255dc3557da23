package journal

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

var testEnd = End{To: segment.ID{5}, Assignment: 6}

// TestEndEntryKeepsItsBytes pins the payload: journals hold it.
func TestEndEntryKeepsItsBytes(t *testing.T) {
	const want = "01" + "05000000000000000000000000000000" + "00000006"
	if e := testEnd.Entry(); e.Kind != 0xff01 || hex.EncodeToString(e.Payload) != want {
		t.Errorf("kind %#x, %x, want %s", e.Kind, e.Payload, want)
	}
}

func FuzzDecodeEnd(f *testing.F) {
	f.Add(testEnd.Entry().Payload)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEnd(b)
		if err == nil && string(e.Entry().Payload) != string(b) {
			t.Fatalf("%x encodes to %x", b, e.Entry().Payload)
		}
	})
}

func TestALeaderHandsOverWhenAllIsConfirmed(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.stays = true
	ref := n.propose()
	n.step(HandOver{testEnd})
	if n.core.Room() || n.core.Ends() {
		t.Fatalf("has room %v, has sent the end entry %v", n.core.Room(), n.core.Ends())
	}
	n.settle()
	if n.losses != 1 || n.lost != nil || n.core.Stands() || n.err != nil {
		t.Fatalf("lost %d times for %v, ended with %v", n.losses, n.lost, n.err)
	}
	last := w.get(Get{Seq: ref.Seq + 1}).Object
	if last == nil || last.End == nil || *last.End != testEnd || n.log[len(n.log)-1] != last.Ref() {
		t.Errorf("the last object is %+v, applied was %v", last, n.log)
	}
	n.step(Stand{Incarnation: segment.ID{4, 99}})
	if n.settle(); !n.core.Room() {
		t.Error("does not lead after it has handed over")
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

// The answer to the PUT is lost: it may land, so the leadership waits for the outcome.
func TestAHandOverIsTakenBackUntilItIsSent(t *testing.T) {
	w := newWorld(t)
	n := w.lead()
	n.stays = true
	n.propose()
	n.step(HandOver{testEnd})
	if n.step(TakeBack{}); !n.core.Room() {
		t.Fatal("it was not sent, and is not taken back")
	}
	n.settle()
	n.step(HandOver{testEnd})
	put := n.cut(n.core.Chain().Next)
	n.step(TakeBack{})
	n.step(PutDone{Seq: put.Seq, Token: put.Token, Err: errLost})
	for range 10 {
		n.answer(len(n.pending) - 1)
		if n.losses > 0 {
			break
		}
		if n.core.Room() {
			t.Fatal("goes on after the end entry was sent")
		}
	}
	n.settle()
	if n.losses != 1 || n.lost != nil {
		t.Errorf("lost %d times for %v, want the end", n.losses, n.lost)
	}
	put.Body().Done()
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

// Older readers stop at the entry.
func TestNoEndEntryBeforeAllReadersKnowIt(t *testing.T) {
	w := newWorld(t)
	cfg := w.config(true)
	for _, ends := range []func() bool{nil, func() bool { return false }} {
		cfg.Ends = ends
		n := w.add(cfg)
		n.settle()
		n.step(HandOver{testEnd})
		if n.settle(); !n.core.Room() {
			t.Error("hands over with an entry that readers do not know")
		}
		n.stays = true
		n.step(Resign{})
	}
	l := newLife(t)
	l.take(t)
	l.o.Core().cfg.Ends = nil
	l.o.Do(func() {
		if err := l.HandOver(testEnd); err == nil || l.Stage() != StageLeads {
			t.Errorf("is in stage %d: %v", l.Stage(), err)
		}
	})
}

func TestALifeHandsOverAndNamesItsSuccessor(t *testing.T) {
	l := newLife(t)
	m := l.take(t)
	commit(l.s, l.o)
	l.o.Do(func() {
		if err := l.HandOver(testEnd); err != nil || l.Stage() != StageHandsOver || l.TakeBack() {
			t.Errorf("is in stage %d: %v", l.Stage(), err)
		}
	})
	l.s.play(l.o)
	if l.Stage() != StageFollows || len(m.ended) != 1 || m.ended[0] != nil || l.lost[0] != nil || l.o.Ended() {
		t.Fatalf("is in stage %d, the machine ended with %v, lost %v", l.Stage(), m.ended, l.lost)
	}
	if e, ok := l.Successor(); !ok || e != testEnd {
		t.Errorf("named %v, %v", e, ok)
	}
	l.take(t)
	if e, ok := l.Successor(); ok {
		t.Errorf("%v is named after the next fence", e)
	}
}

// A follower reports the successor. An end entry that a later fence made void names none.
func TestAFollowerReportsTheSuccessor(t *testing.T) {
	l := newLife(t)
	l.s.w.t = t
	var named []End
	l.OnEnd = func(_ uint32, e End) { named = append(named, e) }
	look := func() {
		l.o.Do(func() { l.o.Poke() })
		l.s.play(l.o)
	}
	n := l.s.w.lead()
	n.step(HandOver{testEnd})
	put := n.cut(n.core.Chain().Next)
	l.s.w.place(segment.Header{Kind: segment.KindFence, Epoch: 2, Seq: put.Seq, Confirmed: put.Seq - 1, Prev: n.core.Chain().Last})
	late := n.core.slots[0].object.Footer.Header
	late.Seq, late.Object = put.Seq+1, segment.ID{77}
	data, _, err := segment.Build(late, []segment.Entry{End{To: segment.ID{6}}.Entry()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.s.w.objects[late.Seq] = data // sent ahead by a leader that does not know
	if look(); len(named) != 0 {
		t.Errorf("void entries named %v", named)
	}
	other := l.s.w.lead()
	other.step(HandOver{testEnd})
	other.settle()
	if look(); len(named) != 1 || named[0] != testEnd {
		t.Errorf("named %v", named)
	}
	if e, ok := l.Successor(); !ok || e != testEnd {
		t.Errorf("the successor is %v, %v", e, ok)
	}
}

// patientSchedules lets nodes that follow stand at the same head. The first fence that is
// stored is the only one.
var patientSchedules = seeded.Test[struct{}]{
	Run: func(t *seeded.T, _ struct{}) {
		w := newWorld(t)
		first := w.lead()
		first.propose()
		first.settle()
		head := first.core.Chain()
		for range 2 + t.Rand.IntN(4) {
			n := w.add(w.config(false))
			n.stays = true
			n.settle()
		}
		var late []Put
		standing := w.nodes[1:]
		for i, n := range standing {
			n.step(Stand{Incarnation: segment.ID{4, byte(100 + i)}, Patient: true})
		}
		t.Steps(400, func(r *rand.Rand) {
			if n := standing[r.IntN(len(standing))]; len(n.pending) > 0 {
				w.randomAnswer(r, n, r.IntN(len(n.pending)), &late)
			}
		})
		for range standing {
			for _, n := range standing {
				n.settle()
			}
		}
		leads, fences := 0, 0
		for _, n := range standing {
			if n.core.Leads() {
				leads++
			} else if by := new(FencedError); !errors.As(n.lost, &by) || by.Epoch != head.Epoch+1 {
				t.Fatalf("gave up for %v", n.lost)
			}
		}
		for seq := range w.objects {
			if h := w.header(seq); h.Kind == segment.KindFence && h.Epoch > head.Epoch {
				fences++
			}
		}
		if leads != 1 || fences != 1 {
			t.Fatalf("%d nodes lead after %d fences", leads, fences)
		}
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	},
}

func TestPatientNodesDoNotFenceEachOther(t *testing.T) { seeded.Run(t, patientSchedules, 500, 500) }

// A fence that loses to data is built again.
func TestAPatientNodeTakesOverFromABusyLeader(t *testing.T) {
	w := newWorld(t)
	leader := w.lead()
	n := w.add(w.config(false))
	n.settle()
	n.step(Stand{Incarnation: segment.ID{4, 99}, Patient: true})
	for n.core.phase != fencing {
		n.answer(0)
	}
	leader.propose()
	leader.settle()
	if n.settle(); !n.led || n.losses != 0 {
		t.Errorf("leads %v, gave up for %v", n.led, n.lost)
	}
}
