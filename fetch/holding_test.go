package fetch

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
)

// TestSlowReadersHoldWhatTheyAreSent has a reader for each object, and none of them takes
// its answer. Each answer is one batch of a large region, and the cache is small, so all
// memory beyond the cache is theirs.
func TestSlowReadersHoldWhatTheyAreSent(t *testing.T) {
	const lent = 4 << 20
	w := newWorld(t, nil)
	w.far, w.memory = true, cache.MinBytes
	w.restart(func(c *Config) { c.MaxLentBytes = lent })
	const readers, each = 60, 16
	for range readers { // 60 MB
		var batches [][]byte
		for range each {
			batches = append(batches, batchOf(1, strings.Repeat("x", 64<<10)))
		}
		w.commit(map[partlog.Key][][]byte{keyA: batches})
	}
	var held []*Response
	var sent int64
	for i := range readers {
		offset := int64(i) * each
		p := want(keyA, offset)
		p.MaxBytes = 1
		r := w.reader.Fetch(t.Context(), request(p))
		if got := bytes.Join(r.Results[0].Records, nil); !bytes.Equal(got, w.log[keyA][offset]) {
			t.Fatalf("offset %d: %d bytes, error %v", offset, len(got), r.Results[0].Err)
		}
		held = append(held, r)
		sent += int64(len(w.log[keyA][offset]))
		// A GET lands before another one begins: at most two are on their way. A buffer may
		// be a fifth larger than its bytes.
		if most := (sent + lent + cache.MinBytes + 4<<20) * 5 / 4; w.pool.InUse() > most {
			t.Fatalf("answers of %d bytes hold %d bytes of memory with the cache, want at most %d", sent, w.pool.InUse(), most)
		}
	}
	for i, r := range held { // though the cache has read other bytes since
		if got := bytes.Join(r.Results[0].Records, nil); !bytes.Equal(got, w.log[keyA][i*each]) {
			t.Errorf("the records of answer %d have changed", i)
		}
		r.Release()
	}
	if left := w.pool.InUse(); left > cache.MinBytes*5/4 || w.reader.loans.bytes != 0 || len(w.reader.loans.of) != 0 {
		t.Errorf("%d bytes of memory and %d of loans are left", left, w.reader.loans.bytes)
	}
}

// TestAFetchOfManyPartitionsHoldsFewOfTheirPieces asks for a few bytes of many partitions,
// each of which is read as a whole.
func TestAFetchOfManyPartitionsHoldsFewOfTheirPieces(t *testing.T) {
	const partitions, size, open = 80, 900 << 10, 4 << 20
	w := newWorld(t, nil)
	var parts []Partition
	for i := range int32(partitions) {
		k := partlog.Key{Topic: keyA.Topic, Index: 100 + i}
		w.commit(map[partlog.Key][][]byte{k: {bigBatch(1, size)}})
		w.merge(true, merging{k, 0, 1})
		p := want(k, 0)
		p.MaxBytes = 1
		parts = append(parts, p)
	}
	w.far, w.memory = true, cache.MinBytes
	w.restart(func(c *Config) { c.MaxLentBytes = 1 })
	w.reader.openBytes = open
	var mu sync.Mutex
	var most int64
	look := func(mem.Call) mem.Action {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, w.pool.InUse())
		return mem.Action{}
	}
	w.fault.Store(&look)
	if got := w.fetch(request(parts...)); len(got[0].Records) == 0 || got[partitions-1].Err != nil {
		t.Errorf("%d parts, error %v", len(got[0].Records), got[partitions-1].Err)
	}
	// The cache is full; a buffer may be a fifth larger than its bytes.
	if limit := int64(open+cache.MinBytes) * 5 / 4; most == 0 || most > limit {
		t.Errorf("%d bytes were held at once, want at most %d of %d", most, limit, partitions*size)
	}
}

// TestFullMemoryIsSentWithoutACopy has an answer that takes all of a region, with no room
// for loans.
func TestFullMemoryIsSentWithoutACopy(t *testing.T) {
	w := newFarWorld(t)
	w.reader.loans.limit = 1
	w.values(strings.Repeat("x", 100<<10))
	w.fill(caughtUp)
	a, b := w.hold(want(keyA, 0)), w.hold(want(keyA, 0))
	if &a.Records[0][0] != &b.Records[0][0] {
		t.Error("records that fill their memory were copied")
	}
	if w.reader.loans.bytes != 0 {
		t.Errorf("%d bytes were borrowed", w.reader.loans.bytes)
	}
}

// TestEveryReaderGivesItsMemoryBack reads in all ways, with damage and with readers that
// go away. Then the cache alone has memory, and none when it has dropped all.
func TestEveryReaderGivesItsMemoryBack(t *testing.T) {
	w := newFarWorld(t)
	w.fill(60)
	gone, leave := context.WithCancel(t.Context())
	leave()
	w.reader.Fetch(gone, request(want(keyA, 0), want(keyB, 30))).Release()
	w.consume(keyA, 0, w.ends[keyA], 10_000)
	for _, at := range []int64{0, 90, 170} {
		if _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, 1); err != nil {
			t.Error(err)
		}
		stop := 0
		_, err := w.reader.Scan(t.Context(), keyB, at, func(batch.Header, []byte) error {
			if stop++; stop == 2 {
				return context.Canceled
			}
			return nil
		})
		if err == nil && at < 170 {
			t.Error("the scan was not ended")
		}
	}
	w.reader.cfg.Cache.Close()
	regions := slices.Collect(func(yield func(cache.Range) bool) {
		for _, k := range []partlog.Key{keyA, keyB} {
			extents, _, _, _ := w.view.State.Find(k, 0, maxExtents)
			for i := range extents {
				yield(rangeOf(extents[i].Object.Key(), &extents[i]))
			}
		}
	})
	for _, r := range regions {
		w.reader.cfg.Cache.ForgetRegion(r)
	}
	if left := w.pool.InUse(); left != 0 {
		t.Errorf("%d bytes are held by no reader", left)
	}
}

// TestLoansAddUp borrows and returns at random.
func TestLoansAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 100
		ls := newLoans(limit)
		sizes := rapid.SliceOfN(rapid.Int64Range(1, 60), 5, 5).Draw(t, "sizes")
		holders := map[int]int{}
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			i := rapid.IntRange(0, len(sizes)-1).Draw(t, "memory")
			if holders[i] > 0 && rapid.Bool().Draw(t, "return") {
				ls.end(i)
				holders[i]--
			} else {
				free := limit - ls.bytes
				took := ls.take(i, sizes[i])
				if took != (holders[i] > 0 || sizes[i] <= free) {
					t.Fatalf("took %t with %d bytes free for %d, held by %d", took, free, sizes[i], holders[i])
				}
				if took {
					holders[i]++
				}
			}
			want, distinct := int64(0), 0
			for i, n := range holders {
				if n > 0 {
					want, distinct = want+sizes[i], distinct+1
				}
			}
			if ls.bytes != want || len(ls.of) != distinct || want > limit {
				t.Fatalf("%d bytes of %d are lent, want %d of %d", ls.bytes, len(ls.of), want, distinct)
			}
		}
	})
}
