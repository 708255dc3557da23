package cache

import (
	"errors"
	"sync"
	"testing"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// buildObject is a journal object with the given number of partitions, each with
// one batch that holds value.
func buildObject(t testing.TB, partitions int, value []byte) []byte {
	t.Helper()
	h := segment.Header{
		Kind: segment.KindData, Cluster: segment.ID{1}, Object: segment.ID{2}, Journal: 1, Epoch: 1, Seq: 2,
		Prev: segment.Ref{Seq: 1, Object: segment.ID{3}}, Confirmed: 1,
		Node: segment.ID{4}, Incarnation: segment.ID{5}, BuiltMs: 6,
	}
	var parts []segment.Records
	for i := range partitions {
		r := segment.Records{Batches: [][]byte{batchtest.Build(batchtest.Spec{
			Records: []batchtest.Record{{Value: value, Timestamp: 1}}, LeaderEpoch: 1,
		})}}
		r.Topic, r.Index, r.LeaderEpoch = segment.ID{9}, int32(i), 1
		parts = append(parts, r)
	}
	b, _, err := segment.Build(h, nil, parts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func accept(*segment.Footer) error { return nil }

func TestConcurrentFooterReadsAreOneGet(t *testing.T) {
	store := gated(storeWith(t, map[string][]byte{"o": buildObject(t, 3, pattern(10_000))}))
	c := newCache(t, store, 64, nil)
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			o, err := c.Footer(t.Context(), "o", nil, accept)
			if err != nil || len(o.Footer.Partitions) != 3 {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
	<-store.entered
	close(store.gate)
	readers.Wait()
	if _, err := c.Footer(t.Context(), "o", nil, accept); err != nil {
		t.Error(err)
	}
	if n := store.gets.Load(); n != 1 {
		t.Errorf("%d GETs, want 1", n)
	}
}

func TestSmallObjectIsOneGetInAll(t *testing.T) {
	object := buildObject(t, 1, pattern(10))
	store := &counting{Store: storeWith(t, map[string][]byte{"o": object})}
	c := newCache(t, store, 64, nil)
	o, err := c.Footer(t.Context(), "o", nil, accept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(t.Context(), Range{"o", 0, o.Size}, o.Size); err != nil {
		t.Fatal(err)
	}
	if n := store.gets.Load(); n != 1 {
		t.Errorf("%d GETs, want 1", n)
	}
}

func TestLongFooterTakesASecondGet(t *testing.T) {
	object := buildObject(t, 3000, nil)
	store := &counting{Store: storeWith(t, map[string][]byte{"o": object})}
	c := newCache(t, store, 64, nil)
	o, err := c.Footer(t.Context(), "o", nil, accept)
	if err != nil || o.Size != int64(len(object)) || len(o.Footer.Partitions) != 3000 {
		t.Fatal(o, err)
	}
	if n := store.gets.Load(); n != 2 {
		t.Errorf("%d GETs, want 2", n)
	}
}

func TestFooterOfAnObjectInMemoryTakesNoGet(t *testing.T) {
	object := buildObject(t, 1, pattern(10))
	store := &counting{Store: mem.New(nil, nil)}
	c := newCache(t, store, 64, nil)
	if _, err := c.Footer(t.Context(), "o", object, accept); err != nil || store.gets.Load() != 0 {
		t.Errorf("error %v, %d GETs", err, store.gets.Load())
	}
	if _, err := c.Footer(t.Context(), "p", object[:len(object)-1], accept); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("cut object: error %v", err)
	}
}

func TestRefusedAndDamagedFootersAreNotKept(t *testing.T) {
	object := buildObject(t, 1, pattern(10))
	damaged := append([]byte(nil), object...)
	damaged[len(damaged)-100] ^= 1
	store := storeWith(t, map[string][]byte{"o": object, "d": damaged})
	c := newCache(t, store, 64, nil)
	refused := errors.New("refused")
	for _, whole := range [][]byte{nil, object} {
		if _, err := c.Footer(t.Context(), "o", whole, func(*segment.Footer) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("error %v, want the check's", err)
		}
	}
	if _, err := c.Footer(t.Context(), "o", nil, accept); err != nil {
		t.Error(err)
	}
	if _, err := c.Footer(t.Context(), "d", nil, accept); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("damaged footer: error %v", err)
	}
	store.PutNow("d", object)
	if _, err := c.Footer(t.Context(), "d", nil, accept); err != nil {
		t.Error(err)
	}
}
