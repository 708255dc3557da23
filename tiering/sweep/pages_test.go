package sweep

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// pageWorld has index objects of seqs 1 to 9, in two copies, and one of before keys had a
// seq. All below seq 5 may go, but for that of seq 3.
func pageWorld(t *testing.T) (*world, *PageRemover, []segment.IndexName) {
	t.Helper()
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	names := []segment.IndexName{{Journal: 1, Object: w.id()}}
	for seq := range uint64(9) {
		names = append(names, segment.IndexName{Journal: 1, Seq: seq + 1, Object: w.id()})
	}
	for _, n := range names {
		for _, one := range n.Copies() {
			w.store.PutNow(one.Key(), []byte("page"))
		}
	}
	w.store.PutNow(segment.IndexPrefix(1)+"notes.txt", []byte("not ours"))
	w.opt.PagesEvery = time.Minute
	w.opt.Kept = keptFrom(5, names[3])
	return w, NewPageRemover(w.opt), names
}

// keptFrom keeps the index objects from a seq on, and one more with its copy.
func keptFrom(from uint64, name segment.IndexName) func(context.Context) (uint64, func(segment.IndexName) bool, error) {
	return func(context.Context) (uint64, func(segment.IndexName) bool, error) {
		return from, func(n segment.IndexName) bool { return n.Object == name.Object }, nil
	}
}

// left are the seqs of the index objects that are there, with both copies.
func (w *world) left(names []segment.IndexName) (seqs []uint64) {
	w.t.Helper()
	for _, n := range names {
		there := 0
		for _, one := range n.Copies() {
			if w.has(one.Key()) {
				there++
			}
		}
		switch there {
		case len(n.Copies()):
			seqs = append(seqs, n.Seq)
		case 1:
			w.t.Fatalf("one copy of the page of seq %d is there", n.Seq)
		}
	}
	return seqs
}

func TestIndexObjectsThatNoFloorKeepsAreRemoved(t *testing.T) {
	w, r, names := pageWorld(t)
	w.run(r.Run)
	if got := w.left(names); len(got) != 7 || got[0] != 0 || got[1] != 3 || got[2] != 5 {
		t.Fatalf("left are %v", got)
	}
	if !w.has(segment.IndexPrefix(1)+"notes.txt") || r.Removed() != 6 {
		t.Fatalf("%d objects are removed", r.Removed())
	}
}

func TestIndexObjectsAreListedOnlyWhenTheFloorHasMoved(t *testing.T) {
	w, r, _ := pageWorld(t)
	lists := 0
	w.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpList && strings.HasPrefix(c.Key, segment.IndexPrefix(1)) {
			lists++
		}
		return mem.Action{}
	}
	for range 100 {
		w.run(r.Run)
		w.now = w.now.Add(time.Minute)
	}
	if lists != 1 {
		t.Fatalf("%d listings, though the floor stands still", lists)
	}
	w.opt.Kept = keptFrom(8, segment.IndexName{})
	r = NewPageRemover(w.opt)
	w.run(r.Run)
	w.run(r.Run)
	if lists != 2 {
		t.Fatalf("%d listings in one period", lists)
	}
}

func TestNoIndexObjectIsRemovedDuringAHold(t *testing.T) {
	w, r, names := pageWorld(t)
	h := segment.Hold{Cluster: testCluster, Object: w.id(), UntilMs: w.now.Add(time.Hour).UnixMilli(), Reason: "a copy"}
	if err := hold.Place(t.Context(), w.store, h); err != nil {
		t.Fatal(err)
	}
	w.run(r.Run)
	if got := w.left(names); len(got) != len(names) {
		t.Fatalf("left are %v during hold %v", got, h)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.run(r.Run)
	if got := w.left(names); len(got) != 7 {
		t.Fatalf("left are %v after the hold", got)
	}
}
