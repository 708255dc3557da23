package verify_test

import (
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/verify"
)

const checkpoint = "journals/1/checkpoints/one"

func putFloor(t *testing.T, store *mem.Store, f segment.Floor) {
	t.Helper()
	f.Journal, f.Checkpoint, f.Hash, f.Object = 1, checkpoint, [32]byte{1}, segment.ID{8}
	if f.Cluster.IsZero() {
		f.Cluster = cluster
	}
	b, err := segment.EncodeFloor(f)
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(checkpoint, []byte("state"))
	store.PutNow(segment.FloorKey(1, f.N), b)
}

func TestAJournalIsWalkedFromItsFloor(t *testing.T) {
	store, _ := history(t)
	putFloor(t, store, segment.Floor{N: 1, Floor: 6})
	putFloor(t, store, segment.Floor{N: 2, Floor: 13})
	for _, seq := range []uint64{5, 6, 7, 8} {
		store.DeleteNow(at(seq))
	}
	r := run(t, store, verify.Options{})
	if len(r.Findings) != 1 || brief(r.Findings[0]) != (expected{"info", "floor", segment.FloorKey(1, 2), ""}) {
		t.Fatalf("%+v", r.Findings)
	}
	if j := r.Journals[1]; j.Floor != 13 || j.Head != 20 || j.Epoch != 3 || j.Partitions != 3 || j.Records != 18 {
		t.Fatalf("%+v", j)
	}
	flip(14, inBatch(0, 70))(t, store)
	if r := run(t, store, verify.Options{}); r.Errors != 1 {
		t.Fatalf("%+v", r.Findings)
	}
}

func TestFloorsMustMakeAChain(t *testing.T) {
	floor := func(n uint64) string { return segment.FloorKey(1, n) }
	for name, tc := range map[string]struct {
		change func(store *mem.Store)
		want   []expected
	}{
		"missing":            {func(s *mem.Store) { s.DeleteNow(floor(1)) }, []expected{{"error", "floor", floor(1), ""}}},
		"damaged":            {func(s *mem.Store) { s.PutNow(floor(1), []byte("VARV")) }, []expected{{"error", "floor", floor(1), ""}}},
		"goes back":          {func(s *mem.Store) { putFloor(t, s, segment.Floor{N: 3, Floor: 1}) }, []expected{{"error", "floor", floor(3), ""}}},
		"of another cluster": {func(s *mem.Store) { putFloor(t, s, segment.Floor{N: 3, Floor: 4, Cluster: segment.ID{5}}) }, []expected{{"error", "floor", floor(3), ""}}},
		"checkpoint missing": {func(s *mem.Store) { s.DeleteNow(checkpoint) }, []expected{{"error", "floor", checkpoint, ""}, {"error", "floor", checkpoint, ""}}},
		"beyond the head":    {func(s *mem.Store) { putFloor(t, s, segment.Floor{N: 3, Floor: 30}) }, []expected{{"error", "floor", floor(3), ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			store, _ := history(t)
			putFloor(t, store, segment.Floor{N: 1, Floor: 2})
			putFloor(t, store, segment.Floor{N: 2, Floor: 3})
			tc.change(store)
			var got []expected
			for _, f := range run(t, store, verify.Options{}).Findings {
				if f.Severity != verify.Info {
					got = append(got, brief(f))
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Fatalf("got  %v\nwant %v", got, tc.want)
			}
		})
	}
}

func TestAFloorThatMovesMeanwhileLeavesNothingToSay(t *testing.T) {
	full, _ := history(t)
	moved := false
	var store *mem.Store
	store = mem.New(nil, func(c mem.Call) mem.Action {
		if c.Key == at(6) && !moved {
			moved = true
			store.DeleteNow(at(7))
			store.DeleteNow(at(8))
			putFloor(t, store, segment.Floor{N: 1, Floor: 9})
		}
		return mem.Action{}
	})
	for _, i := range full.ListNow("") {
		b, _ := full.GetNow(i.Key)
		store.PutNow(i.Key, b)
	}
	r := run(t, store, verify.Options{Parallel: 1})
	if r.Errors != 0 || r.Warnings != 1 || r.Findings[0].Code != verify.CodeFloor {
		t.Fatalf("%+v", r.Findings)
	}
}
