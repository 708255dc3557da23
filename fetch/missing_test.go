package fetch

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// moving is a world whose record lies in another object at each head. All but the last of
// these objects are gone, and a proof leads to the next head.
func moving(t *testing.T, heads int) *world {
	w := newWorld(t, nil)
	var states []*partlog.State
	for range heads {
		w.view.State = partlog.New(testJournal)
		w.opened, w.ends = map[partlog.Key]bool{}, map[partlog.Key]int64{}
		seq := w.values("a")
		states = append(states, w.view.State)
		if len(states) < heads {
			w.store.DeleteNow(segment.JournalKey(testJournal, seq))
		}
	}
	w.view.State = states[0]
	w.prover.do = func(context.Context) error {
		if i := slices.Index(states, w.view.State); i+1 < heads {
			w.view = JournalView{State: states[i+1], Head: &w.prover}
		}
		return nil
	}
	return w
}

// asks reads the one record of partition A in several ways.
var asks = map[string]func(*world) error{
	"fetch": func(w *world) error { return w.fetchOne(want(keyA, 0)).Err },
	"list offset": func(w *world) error {
		_, err := w.reader.Offsets().ListOffset(w.tb.Context(), keyA, -1, 1)
		return err
	},
	"scan": func(w *world) error {
		_, err := w.reader.Scan(w.tb.Context(), keyA, 0, func(batch.Header, []byte) error { return nil })
		return err
	},
}

// TestRecordsThatMoveAreFollowed has a reader whose objects are always gone before it comes.
func TestRecordsThatMoveAreFollowed(t *testing.T) {
	for name, ask := range asks {
		w := moving(t, 6)
		var o reported
		w.restart(o.config)
		if err := ask(w); err != nil || len(o.damaged) > 0 {
			t.Errorf("%s: error %v, damage %v", name, err, o.damaged)
		}
		if n := w.prover.calls.Load(); n != 5 {
			t.Errorf("%s: %d proofs, want one for each object that is gone", name, n)
		}
	}
}

// TestLossThatIsNotProvedIsNoDamage has objects that are gone while no head can be proved.
func TestLossThatIsNotProvedIsNoDamage(t *testing.T) {
	for name, ask := range asks {
		w := newWorld(t, nil)
		w.store.DeleteNow(segment.JournalKey(testJournal, w.values("a")))
		var o reported
		w.restart(o.config)
		w.prover.do = func(context.Context) error { return errors.New("no route to host") }
		for range 5 {
			if err := ask(w); !errors.Is(err, ErrNotReady) || errors.Is(err, ErrStorage) {
				t.Errorf("%s: error %v, want ErrNotReady", name, err)
			}
		}
		if len(o.damaged) > 0 || w.reader.Damaged() > 0 {
			t.Errorf("%s: reported %v", name, o.damaged)
		}
		w.prover.do = nil
		if err := ask(w); !errors.Is(err, ErrStorage) || w.reader.Damaged() != 1 || o.damaged[0].Object == "" {
			t.Errorf("%s: error %v with a proved head, %d damaged", name, err, w.reader.Damaged())
		}
	}
}

// TestOneProofServesLossesBeforeIt has many partitions in one object that is gone.
func TestOneProofServesLossesBeforeIt(t *testing.T) {
	w := newWorld(t, nil)
	var req Request
	object := map[partlog.Key][][]byte{}
	for i := range int32(20) {
		k := partlog.Key{Topic: testTopic, Index: i}
		object[k] = [][]byte{batchOf(1, "a")}
		req.Partitions = append(req.Partitions, want(k, 0))
	}
	req.MaxBytes = 50 << 20
	w.store.DeleteNow(segment.JournalKey(testJournal, w.commit(object)))
	for i, r := range w.fetch(req) {
		if !errors.Is(r.Err, ErrStorage) {
			t.Errorf("partition %d: error %v", i, r.Err)
		}
	}
	if n := w.prover.calls.Load(); n > 3 {
		t.Errorf("%d proofs for one object that is gone", n)
	}
}
