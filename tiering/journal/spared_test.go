package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// sparedWorld has two floors or more. The checkpoint of the last one and those above it are
// damaged, and the data objects below the floor before it are deleted.
func sparedWorld(t *testing.T) (l *led, before, last uint64) {
	t.Helper()
	l = newLed(t)
	for l.floors().n < 3 {
		l.step()
	}
	f := l.floors()
	b, err := f.before(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, last = b.floor.Floor, f.floor.Floor
	for _, at := range l.checkpoints() {
		if key := segment.CheckpointKey(testJournal, at); at.Seq >= before {
			l.store.PutNow(key, []byte("rotten"))
		}
	}
	for seq := uint64(1); seq < before; seq++ {
		if l.w.header(seq).Kind == segment.KindData {
			delete(l.w.objects, seq)
			l.store.DeleteNow(segment.JournalKey(testJournal, seq))
		}
	}
	l.w.floor = last
	return l, before, last
}

func TestAStartGoesBackOneFloor(t *testing.T) {
	l, before, last := sparedWorld(t)
	c := load(t, l.store)
	if c.Chain.Next != before || c.Chain.Spared != last {
		t.Fatalf("it begins at seq %d, spared up to %d, want %d and %d", c.Chain.Next, c.Chain.Spared, before, last)
	}
	l.takeOver()
	l.step()
}

// TestAStartGoesBackOneFloorFromAnyLoss has a checkpoint of the newest floor that is lost in
// every way. One that is out of reach now ends the start: it may be whole.
func TestAStartGoesBackOneFloorFromAnyLoss(t *testing.T) {
	for kind, tc := range map[string]struct {
		of   func(whole []byte) []byte // nil: it is gone
		err  error                     // of the store
		back bool
	}{
		"missing":      {back: true},
		"cut":          {of: func(whole []byte) []byte { return whole[:len(whole)-1] }, back: true},
		"damaged":      {of: func(whole []byte) []byte { return append(slices.Clone(whole[:len(whole)-1]), 0) }, back: true},
		"ends early":   {err: objstore.ErrRange, back: true},
		"out of reach": {err: objstore.ErrDenied},
	} {
		l, before, _ := sparedWorld(t)
		key := l.floors().floor.Checkpoint
		l.store.DeleteNow(key)
		if tc.of != nil {
			b, _ := l.store.GetNow(segment.CheckpointKey(testJournal, l.checkpoints()[0]))
			l.store.PutNow(key, tc.of(b))
		}
		l.fault = func(c mem.Call) mem.Action {
			if tc.err != nil && c.Key == key {
				return mem.FailBefore(tc.err)
			}
			return mem.Action{}
		}
		c, err := LoadCheckpoint(t.Context(), l.store, NewChain(testCluster, testJournal, testWindow), nil)
		if tc.back && (err != nil || c.Chain.Next != before) || !tc.back && !errors.Is(err, tc.err) {
			t.Errorf("%s: %+v, error %v", kind, c, err)
		}
	}
}

// TestADamagedFloorIsPassedOver has a last floor object that is cut short. No object from the
// floor before on is deleted, so that a start begins there.
func TestADamagedFloorIsPassedOver(t *testing.T) {
	l, before, last := sparedWorld(t)
	base := NewChain(testCluster, testJournal, testWindow)
	key := func(n uint64) string { return segment.FloorKey(testJournal, n) }
	third, _ := l.store.GetNow(key(3))
	second, _ := l.store.GetNow(key(2))
	reader, spared := &floors{store: l.store, journal: testJournal}, NewSpared(l.store, base, nil, nil)
	cut := func(n uint64, b []byte) { l.store.PutNow(key(n), b[:len(b)/2]) }
	reads := func(what string, want uint64) {
		t.Helper()
		for name, f := range map[string]*floors{"one that looked before": reader, "a new one": {store: l.store, journal: testJournal}} {
			if got, err := f.read(t.Context()); err != nil || got != want || (f.damaged != nil) != (want == before) {
				t.Errorf("%s: %s finds floor %d, error %v, passed over %v, want %d", what, name, got, err, f.damaged, want)
			}
		}
	}
	cut(3, third)
	reads("the last is cut", before)
	if seq, err := spared.Seq(t.Context()); err == nil && seq >= before {
		t.Errorf("objects below seq %d may go, though the last floor can be read by no other node", seq)
	}
	if c := load(t, l.store); c.Chain.Next != before {
		t.Errorf("a start begins at seq %d, want %d", c.Chain.Next, before)
	}
	l.write()
	if res, err := l.checkpoint(); !errors.Is(res.FloorErr, ErrDamaged) || err != nil {
		t.Errorf("a leader moves the floor: %v, %v", res.FloorErr, err)
	}
	l.w.floor = before // as the floors are read
	l.takeOver()
	l.write()
	for _, at := range l.checkpoints() {
		if at.Seq+1 >= before {
			l.store.PutNow(segment.CheckpointKey(testJournal, at), []byte("rotten"))
		}
	}
	if c, err := LoadCheckpoint(t.Context(), l.store, base, nil); !errors.Is(err, segment.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) { // of a removed one
		t.Errorf("a start goes back two floors: %+v, error %v", c, err)
	}
	l.store.PutNow(key(3), third)
	reads("the last is restored", last)
	cut(2, second)
	reads("the one before the last is cut", last)
	cut(3, third)
	if got, err := (&floors{store: l.store, journal: testJournal}).read(t.Context()); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("both are cut: floor %d, error %v", got, err)
	}
}

func TestAFloorThatMovesOnOvertakesAStartFromTheOneBefore(t *testing.T) {
	l, _, last := sparedWorld(t)
	cfg := l.w.config(false)
	c := load(t, l.store)
	cfg.Chain, cfg.History = c.Chain, c.History
	l.w.floor = last + 1
	n := l.w.add(cfg)
	if n.settle(); !errors.Is(n.err, ErrBelowFloor) {
		t.Errorf("error %v", n.err)
	}
}

// TestAHoleBelowTheFloorIsNotTheEnd: a fence there would cut off all that follows, and a
// listing may show nothing of it.
func TestAHoleBelowTheFloorIsNotTheEnd(t *testing.T) {
	for _, lead := range []bool{false, true} {
		l, before, _ := sparedWorld(t)
		for seq := range l.w.objects {
			if seq > before {
				delete(l.w.objects, seq)
			}
		}
		cfg := l.w.config(lead)
		c := load(t, l.store)
		cfg.Chain, cfg.History = c.Chain, c.History
		n := l.w.add(cfg)
		if n.settle(); !errors.Is(n.err, ErrBroken) {
			t.Errorf("leading %t: led %t, error %v", lead, n.led, n.err)
		}
	}
}

func TestObjectsAreSparedFromTheLastFloorButOneOn(t *testing.T) {
	l := newLed(t)
	good, early := true, false
	base := NewChain(testCluster, testJournal, testWindow)
	s := NewSpared(l.store, base, func(context.Context, objstore.Store, *Checkpoint) error {
		switch {
		case !good:
			return errors.New("not good")
		case early:
			return fmt.Errorf("%w: pages are stored once", ErrNotYet)
		}
		return nil
	}, nil)
	for l.floors().n < 4 {
		l.step()
		f := l.floors()
		want := uint64(0)
		if b, err := f.before(t.Context()); err == nil {
			want = b.floor.Floor
		}
		if got, err := s.Seq(t.Context()); err != nil || got != want {
			t.Fatalf("with %d floors: seq %d, error %v, want %d", f.n, got, err, want)
		}
	}
	for n := l.floors().n; l.floors().n == n; {
		l.step()
	}
	good = false
	if got, err := s.Seq(t.Context()); err == nil {
		t.Errorf("seq %d, though no start could be made from the checkpoint", got)
	}
	good, early = true, true
	for range 2 {
		if got, err := s.Seq(t.Context()); err != nil || got != 0 {
			t.Errorf("seq %d, error %v, though it is too early to delete", got, err)
		}
		early = false
	}
	for n := l.floors().n; l.floors().n == n; {
		l.step()
	}
	if got, err := s.Seq(t.Context()); err != nil || got == 0 {
		t.Errorf("seq %d, error %v, with the next floor", got, err)
	}
	for n := l.floors().n; l.floors().n == n; {
		l.step()
	}
	b, _ := l.floors().before(t.Context())
	l.store.PutNow(b.floor.Checkpoint, []byte("rotten"))
	if got, err := s.Seq(t.Context()); err == nil {
		t.Errorf("seq %d, though the checkpoint is rotten", got)
	}
}
