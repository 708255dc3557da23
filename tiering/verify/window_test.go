package verify

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// countingStore counts the reads of its only object.
type countingStore struct {
	objstore.Store
	object  []byte
	reads   int
	bytes   int64
	largest int
}

func (s *countingStore) GetRange(_ context.Context, _ string, offset int64, dst []byte) error {
	s.reads++
	s.bytes += int64(len(dst))
	s.largest = max(s.largest, len(dst))
	copy(dst, s.object[offset:])
	return nil
}

// largeMerged stores a merged segment with n batches of 700 KiB in each of two partitions.
func largeMerged(t *testing.T, store *mem.Store, n int64) *merged {
	t.Helper()
	value := strings.Repeat("x", 700<<10)
	parts := []storedPart{{0, 0, n, nil}, {1, 0, n, nil}}
	for i := range parts {
		for offset := range n {
			parts[i].batches = append(parts[i].batches, batchtest.Spec{Records: batchtest.Values(4, value), BaseOffset: offset, LeaderEpoch: 1})
		}
	}
	return storeMerged(t, store, parts)
}

func TestALargeObjectIsReadInWindows(t *testing.T) {
	for _, n := range []int64{8, 40} {
		held := mem.New(time.Now, nil)
		m := largeMerged(t, held, n)
		object, _ := held.GetNow(m.object.Key())
		store := &countingStore{object: object}
		c := mergedCheck{store: store, cluster: segment.ID{1}, journal: 1, whole: true, records: true}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		found, read, err := c.check(t.Context(), m)
		runtime.ReadMemStats(&after)
		if err != nil || len(found) > 0 || read != m.size() {
			t.Fatalf("%v, %+v, %d bytes", err, found, read)
		}
		want := int((m.size() + windowRead - 1) / windowRead)
		if store.reads != want || store.bytes != m.size() || store.largest > windowRead {
			t.Errorf("%d reads of %d bytes, at most %d at once, for an object of %d; want %d", store.reads, store.bytes, store.largest, m.size(), want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > windowSize+1<<20 {
			t.Errorf("an object of %d bytes took %d bytes of memory", m.size(), used)
		}
	}
}

func TestDamageBehindTheFirstWindowIsFoundWhereItIs(t *testing.T) {
	store := mem.New(time.Now, nil)
	m := largeMerged(t, store, 8)
	object, _ := store.GetNow(m.object.Key())
	object[windowRead+100] ^= 1
	store.PutNow(m.object.Key(), object)
	c := mergedCheck{store: store, cluster: segment.ID{1}, journal: 1, whole: true, records: true}
	found, _, err := c.check(t.Context(), m)
	if err != nil || len(found) != 1 || len(found[0].Affects) != 1 {
		t.Fatalf("%v, %+v", err, found)
	}
	if a := found[0].Affects[0]; a.Partition != 1 || a.Last-a.First > 1 || *found[0].Offset > windowRead+100 {
		t.Errorf("%+v at %d", a, *found[0].Offset)
	}
}

func TestTheMemoryOfAWindowIsUsedAgain(t *testing.T) {
	held := mem.New(time.Now, nil)
	m := largeMerged(t, held, 8)
	reads := 0
	w := newWindow(m.size(), make([]byte, 100), func(at int64, dst []byte) error {
		reads++
		return held.GetRange(t.Context(), m.object.Key(), at, dst)
	})
	for w.at < w.size {
		if _, err := w.take(min(999_983, w.size-w.at)); err != nil {
			t.Fatal(err)
		}
	}
	if sum := [32]byte(w.sha.Sum(nil)); sum != m.pieces[0].SHA256 || reads != 2 || len(w.room) != windowSize {
		t.Errorf("%d reads, room of %d, sum %x", reads, len(w.room), sum)
	}
}
