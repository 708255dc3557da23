package restore_test

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// flooredPage is a page of a state, and a bucket with a floor whose checkpoint has the
// extents of that page.
func flooredPage(t *testing.T, fault func(mem.Call) mem.Action) (store *mem.Store, p *partlog.Page) {
	t.Helper()
	store = mem.New(time.Now, fault)
	k, paged, whole, chain := partlog.Key{Topic: segment.ID{2}}, partlog.New(1), partlog.New(1), journal.NewChain(segment.ID{1}, 1, 1)
	for seq := uint64(1); seq <= 22; seq++ {
		h := segment.Header{Kind: segment.KindData, Cluster: segment.ID{1}, Object: segment.ID{3, byte(seq)}, Journal: 1, Epoch: 1, Seq: seq, Prev: chain.Tail, BuiltMs: 1}
		f := &segment.Footer{Header: h}
		var entries []segment.Entry
		switch seq {
		case 1:
			f.Header.Kind = segment.KindFence
		case 2:
			intent := partlog.Intent{Job: segment.ID{7}, Objects: []segment.Name{segment.SharedSegment(1, segment.ID{8})}}
			entries = []segment.Entry{partlog.Open{Key: k}.Encode(), intent.Encode()}
		default:
			at := int64(seq - 3)
			f.Partitions = []segment.Partition{{Topic: k.Topic, BaseOffset: at, LastOffset: at, LeaderEpoch: 1, Position: 100, Length: 80}}
		}
		if err := errors.Join(paged.Apply(f, entries), whole.Apply(f, entries)); err != nil {
			t.Fatal(err)
		}
		chain.Advance(&f.Header, journal.Valid)
	}
	ix, _ := paged.PlanIndex(10)
	b, err := segment.EncodeBlob(segment.Blob{Kind: segment.KindIndex, Cluster: segment.ID{1}, Object: segment.ID{5}, Journal: 1, Seq: 22, Payload: ix.Payload()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ix.Name(segment.ID{5}).Copies() {
		store.PutNow(name.Key(), b)
	}
	paged.Paged(ix, segment.ID{5})
	job := journal.CheckpointJob{Chain: chain, State: whole.Encode(nil, segment.ID{}, nil)}
	cp := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: segment.NewID})
	cp.Begin(&job)
	if res := cp.Write(t.Context(), store, job); res.Err != nil {
		t.Fatal(res.Err)
	}
	key := segment.CheckpointKey(1, chain.Last)
	raw, _ := store.GetNow(key)
	floor, err := segment.EncodeFloor(segment.Floor{Journal: 1, N: 1, Floor: chain.Next, Checkpoint: key, Hash: sha256.Sum256(raw), Object: segment.ID{6}, Cluster: segment.ID{1}})
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(segment.FloorKey(1, 1), floor)
	paged.Survey(func(s *partlog.Survey) { p = s.FirstPage })
	return store, p
}

// TestALostPageIsReadElsewhere loses the first copy of a page, and then both: its second
// copy has the extents, and then the checkpoint of the newest floor.
func TestALostPageIsReadElsewhere(t *testing.T) {
	for kind, spoil := range map[string]func(store *mem.Store, key string){
		"missing": func(s *mem.Store, key string) { s.DeleteNow(key) },
		"cut":     func(s *mem.Store, key string) { b, _ := s.GetNow(key); s.PutNow(key, b[:len(b)-1]) },
		"damaged": func(s *mem.Store, key string) { b, _ := s.GetNow(key); s.PutNow(key, flipped(b)) },
	} {
		floors, failing := 0, false
		store, p := flooredPage(t, func(c mem.Call) mem.Action {
			if c.Key == segment.FloorKey(1, 1) {
				floors++
			}
			if failing && c.Key == p0().Key() {
				return mem.FailBefore(objstore.ErrDenied)
			}
			return mem.Action{}
		})
		floors = 0
		removed := restore.NewRemoved(store, func(uint32) journal.Chain { return journal.NewChain(segment.ID{1}, 1, 1) })
		pages := restore.NewPageReader(store)
		for n, name := range p.Copies() {
			spoil(store, name.Key())
			for _, read := range []func(){
				func() { found, err := removed.Read(t.Context(), p, nil); want(t, kind, found, err) },
				func() { found, err := removed.Read(t.Context(), p, pages.Page); want(t, kind, found, err) },
			} {
				read()
			}
			if n == 0 && floors > 0 {
				t.Errorf("%s: the floor is read, though the second copy is whole", kind)
			}
		}
		failing, floors = true, 0
		if _, err := removed.Read(t.Context(), p, nil); !errors.Is(err, objstore.ErrDenied) || floors > 0 {
			t.Errorf("%s: error %v, %d reads of the floor, though the page may only be out of reach", kind, err, floors)
		}
	}
}

// TestAPageIsNotLostWhileTheFloorCannotBeRead: the floor may have it.
func TestAPageIsNotLostWhileTheFloorCannotBeRead(t *testing.T) {
	away := errors.New("away")
	for _, prefix := range []string{segment.FloorPrefix(1), segment.CheckpointPrefix(1)} {
		failing := false
		store, p := flooredPage(t, func(c mem.Call) mem.Action {
			if failing && strings.HasPrefix(c.Key, prefix) {
				return mem.FailBefore(away)
			}
			return mem.Action{}
		})
		for _, name := range p.Copies() {
			store.DeleteNow(name.Key())
		}
		failing = true
		removed := restore.NewRemoved(store, func(uint32) journal.Chain { return journal.NewChain(segment.ID{1}, 1, 1) })
		if _, err := removed.Read(t.Context(), p, nil); err == nil || lost.Is(err) || !errors.Is(err, away) {
			t.Errorf("%s cannot be read: error %v", prefix, err)
		}
		failing = false
		if _, err := removed.Read(t.Context(), p, nil); err != nil {
			t.Errorf("%s can be read again: error %v", prefix, err)
		}
	}
}

// p0 is the name of the index object.
func p0() segment.IndexName {
	return segment.IndexName{Journal: 1, Seq: 22, Object: segment.ID{5}}
}

func flipped(b []byte) []byte {
	b = slices.Clone(b)
	for i := segment.BlobHeaderSize; i < len(b); i++ {
		b[i] ^= 1
	}
	return b
}

func want(t *testing.T, kind string, found *partlog.PageExtents, err error) {
	t.Helper()
	if err != nil || len(found.From(0, 100)) < 10 {
		t.Errorf("%s: %v", kind, err)
	}
}
