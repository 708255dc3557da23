package restore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// TestObjectsBeforeTheStartAreNotNeeded: leaders release them, also if the index page that
// lists them has others that are needed.
func TestObjectsBeforeTheStartAreNotNeeded(t *testing.T) {
	k := partlog.Key{Topic: segment.ID{2}}
	state, seq := partlog.New(1), uint64(0)
	apply := func(kind segment.Kind, entries []segment.Entry, parts ...segment.Partition) {
		t.Helper()
		seq++
		h := segment.Header{Kind: kind, Journal: 1, Epoch: 1, Seq: seq, BuiltMs: 1}
		if err := state.Apply(&segment.Footer{Header: h, Partitions: parts}, entries); err != nil {
			t.Fatal(err)
		}
	}
	apply(segment.KindFence, nil)
	apply(segment.KindData, []segment.Entry{partlog.Open{Key: k}.Encode()})
	for i := range int64(20) {
		apply(segment.KindData, nil, segment.Partition{Topic: k.Topic, BaseOffset: i, LastOffset: i, LeaderEpoch: 1, Position: 100, Length: 80})
	}
	store, object := mem.New(time.Now, nil), segment.ID{5}
	ix, ok := state.PlanIndex(10)
	if !ok {
		t.Fatal("nothing is paged")
	}
	b, err := segment.EncodeBlob(segment.Blob{Kind: segment.KindIndex, Cluster: segment.ID{1}, Object: object, Journal: 1, Seq: seq, Payload: ix.Payload()})
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(ix.Name(object).Key(), b)
	state.Paged(ix, object)
	for _, start := range []int64{0, 7} {
		if start > 0 {
			apply(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: k, Before: start}.Encode()})
		}
		if first, err := restore.FirstNeeded(t.Context(), store, state); err != nil || first != uint64(3+start) {
			t.Errorf("start %d: seq %d is needed (%v), want %d", start, first, err, 3+start)
		}
	}
}

// TestPagesOfAnIndexObjectAreReadTogether: a look at many partitions takes two GETs, and
// the next one none.
func TestPagesOfAnIndexObjectAreReadTogether(t *testing.T) {
	const partitions = 50
	state := partlog.New(1)
	apply := func(seq uint64, kind segment.Kind, entries []segment.Entry, parts []segment.Partition) {
		h := segment.Header{Kind: kind, Journal: 1, Epoch: 1, Seq: seq, BuiltMs: 1}
		if err := state.Apply(&segment.Footer{Header: h, Partitions: parts}, entries); err != nil {
			t.Fatal(err)
		}
	}
	apply(1, segment.KindFence, nil, nil)
	var opens []segment.Entry
	for p := range int32(partitions) {
		opens = append(opens, partlog.Open{Key: partlog.Key{Topic: segment.ID{2}, Index: p}}.Encode())
	}
	apply(2, segment.KindData, opens, nil)
	for i := range int64(20) {
		var parts []segment.Partition
		for p := range int32(partitions) {
			parts = append(parts, segment.Partition{Topic: segment.ID{2}, Index: p, BaseOffset: i, LastOffset: i, LeaderEpoch: 1, Position: uint64(100 * (p + 1)), Length: 80})
		}
		apply(uint64(3+i), segment.KindData, nil, parts)
	}
	gets := 0
	store, object := mem.New(time.Now, func(c mem.Call) mem.Action {
		if strings.Contains(c.Key, "/index/") {
			gets++
		}
		return mem.Action{}
	}), segment.ID{5}
	ix, _ := state.PlanIndex(10)
	b, err := segment.EncodeBlob(segment.Blob{Kind: segment.KindIndex, Cluster: segment.ID{1}, Object: object, Journal: 1, Seq: 22, Payload: ix.Payload()})
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(ix.Name(object).Key(), b)
	state.Paged(ix, object)
	reader := restore.NewPageReader(store)
	for round := range 3 {
		read := 0
		state.Survey(func(s *partlog.Survey) {
			found, err := reader.Page(t.Context(), s.FirstPage)
			if err != nil || len(found.From(0, 1)) != 1 {
				t.Fatalf("round %d: %v", round, err)
			}
			read++
		})
		if read != partitions || gets != 2 {
			t.Fatalf("round %d: %d pages by %d GETs", round, read, gets)
		}
	}
}
