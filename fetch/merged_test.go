package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// bigBatch is a batch of about so many bytes at a time.
func bigBatch(ts int64, size int) []byte { return batchOf(ts, strings.Repeat("x", size)) }

// mergedWorld has objects with a few batches of both partitions, of which all are merged
// but the last ones: small extents into shared segments, large ones into own ones.
func mergedWorld(t testing.TB) *world {
	w := newWorld(t, nil)
	for i := range 60 {
		size := 1000
		if i >= 20 {
			size = 300 << 10
		}
		w.commit(map[partlog.Key][][]byte{keyA: {bigBatch(int64(i), size), batchOf(int64(i), "a")}, keyB: {batchOf(int64(i), "b")}})
	}
	w.merge(false, merging{keyA, 0, 20}, merging{keyB, 0, 10})
	w.merge(false, merging{keyA, 20, 40}, merging{keyB, 10, 50})
	w.merge(true, merging{keyA, 40, 80})
	w.merge(true, merging{keyA, 80, 110})
	w.deleteUnnamed()
	w.restart(nil)
	w.gets.Store(0)
	return w
}

func TestMergedRecordsAreReadBack(t *testing.T) {
	for _, limit := range []int32{1, 10_000, 1 << 20, 40 << 20} {
		w := mergedWorld(t)
		for _, k := range []partlog.Key{keyA, keyB} {
			if got := w.consume(k, 0, w.ends[k], limit); !bytes.Equal(got, bytes.Join(w.log[k], nil)) {
				t.Errorf("limit %d: the records of %v are not those of the log", limit, k)
			}
		}
		for from := int64(0); from < w.ends[keyA]; from += 7 {
			got, next, err := w.scan(keyA, from)
			if err != nil || next != w.ends[keyA] || !bytes.Equal(bytes.Join(got, nil), w.from(keyA, from)) {
				t.Errorf("scan from %d: next %d, error %v", from, next, err)
			}
		}
		if n := w.prover.calls.Load(); n > 30 {
			t.Errorf("%d proofs: something was missing", n)
		}
	}
}

// from joins the batches that end at an offset or after it.
func (w *world) from(k partlog.Key, offset int64) []byte {
	var out []byte
	for _, b := range w.log[k] {
		if h, _ := batch.Parse(b); h.LastOffset() >= offset {
			out = append(out, b...)
		}
	}
	return out
}

// TestColdReadOfMergedRecordsTakesThreeGETs asks with an empty cache, for offsets and for
// times, in pages and in memory.
func TestColdReadOfMergedRecordsTakesThreeGETs(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 80 {
		var batches [][]byte
		for range 4 {
			batches = append(batches, bigBatch(int64(i+1), 700<<10))
		}
		if i >= 3 {
			batches = [][]byte{batchOf(int64(i+1), "small")}
		}
		from := w.ends[keyA]
		w.commit(map[partlog.Key][][]byte{keyA: batches})
		w.merge(true, merging{keyA, from, w.ends[keyA]})
	}
	w.page(1)
	if _, page, _, _ := w.view.State.Find(keyA, 0, 1); page == nil {
		t.Fatal("the first extents are not in a page")
	}
	for offset := range w.ends[keyA] {
		w.restart(nil)
		w.gets.Store(0)
		p := want(keyA, offset)
		p.MaxBytes = 1
		if got := values(t, w.fetchOne(p)); len(got) == 0 || !strings.HasPrefix(got[0], fmt.Sprint(offset, "=")) {
			t.Fatalf("offset %d: no records", offset)
		}
		if n := w.gets.Load(); n > 3 {
			t.Errorf("offset %d: %d GETs", offset, n)
		}
	}
	for ts := range int64(80) {
		w.restart(nil)
		w.gets.Store(0)
		at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, ts+1)
		if want := min(4*ts, ts+9); err != nil || at.Timestamp != ts+1 || at.Offset != want {
			t.Errorf("time %d: %+v, error %v, want offset %d", ts+1, at, err, want)
		}
		if n := w.gets.Load(); n > 3 {
			t.Errorf("time %d: %d GETs", ts+1, n)
		}
	}
}

// TestReplayOfMergedRecordsReadsLargeRanges counts the GETs and bytes of a reader that
// reads two own segments from the start.
func TestReplayOfMergedRecordsReadsLargeRanges(t *testing.T) {
	w := newInPlaceWorld(t)
	const each, size = 120, 500 << 10
	for range 2 {
		from := w.ends[keyA]
		for range each / 4 {
			w.commit(map[partlog.Key][][]byte{keyA: {bigBatch(1, size), bigBatch(1, size), bigBatch(1, size), bigBatch(1, size)}})
		}
		w.merge(true, merging{keyA, from, w.ends[keyA]})
	}
	w.fill(tailObjects)
	w.restart(nil)
	w.gets.Store(0)
	for offset := int64(0); offset < 2*each; {
		r := w.reader.Fetch(t.Context(), request(want(keyA, offset)))
		if r.Results[0].Err != nil || len(r.Results[0].Records) == 0 {
			t.Fatalf("offset %d: %v", offset, r.Results[0].Err)
		}
		b := bytes.Join(r.Results[0].Records, nil)
		_ = batch.Walk(b, func(_ int, h batch.Header) error { offset = h.LastOffset() + 1; return nil })
		r.Release()
	}
	s := w.reader.cfg.Cache.Replays()
	total := int64(2 * each * size)
	if most := 300 * total / 1e9; w.gets.Load() > most || s.Read > total+total/50 {
		t.Errorf("%d GETs of %d bytes for %d bytes, want %d at most", w.gets.Load(), s.Read, total, most)
	}
	t.Logf("%d GETs, %+v", w.gets.Load(), s)
}

// TestReplayOfSharedSegmentsReadsNeighboursTogether has one reader of many partitions that
// share their segments.
func TestReplayOfSharedSegmentsReadsNeighboursTogether(t *testing.T) {
	w := newWorld(t, nil)
	const partitions, segments = 40, 12
	for range segments {
		object, parts := map[partlog.Key][][]byte{}, []merging{}
		for i := range int32(partitions) {
			k := partlog.Key{Topic: testTopic, Index: i}
			object[k] = [][]byte{bigBatch(1, 30<<10), bigBatch(1, 30<<10)}
			parts = append(parts, merging{k, w.ends[k], w.ends[k] + 2})
		}
		w.commit(object)
		w.merge(false, parts...)
	}
	w.restart(nil)
	w.gets.Store(0)
	for offset := int64(0); offset < 2*segments; offset += 2 {
		req := Request{MinBytes: 1, MaxBytes: 50 << 20}
		for i := range int32(partitions) {
			p := want(partlog.Key{Topic: testTopic, Index: i}, offset)
			p.MaxBytes = 61 << 10
			req.Partitions = append(req.Partitions, p)
		}
		for i, r := range w.fetch(req) {
			if len(values(t, r)) != 2 {
				t.Fatalf("partition %d, offset %d: %d records", i, offset, len(values(t, r)))
			}
		}
	}
	if n := w.gets.Load(); n > 2*segments {
		t.Errorf("%d GETs for %d segments of %d partitions", n, segments, partitions)
	}
}

// TestDamageOfMergedRecordsStaysInItsBlock flips a bit in each part of a segment.
func TestDamageOfMergedRecordsStaysInItsBlock(t *testing.T) {
	w := mergedWorld(t)
	for _, e := range w.extentsIn(keyA, 0, 110) {
		object := w.others[e.Object.Key()]
		s, err := segment.DecodeMergedPartition(object[e.Position+e.Length:][:e.IndexLength])
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Blocks {
			block := blockOf(&e, s, i)
			first, _ := batch.Parse(object[block.Position:])
			// The base offset, the epoch, the CRC, a record, and the last byte.
			for _, at := range []int64{7, 15, 17, batch.HeaderSize + 3, int64(first.Size()) - 1, int64(block.Length) - 1} {
				bad := bytes.Clone(object)
				bad[int64(block.Position)+at] ^= 1
				w.store.PutNow(e.Object.Key(), bad)
				w.restart(nil)
				w.readAround(block.Base, block.Last)
			}
		}
		w.store.PutNow(e.Object.Key(), object)
	}
}

// readAround reads offsets of partition A in and next to those from first to last, which are
// damaged.
func (w *world) readAround(first, last int64) {
	w.tb.Helper()
	for round := range 2 {
		for _, offset := range []int64{first - 1, first, (first + last) / 2, last, last + 1, 109} {
			if offset < 0 {
				continue
			}
			p := want(keyA, offset)
			p.MaxBytes = 1
			r := w.fetchOne(p)
			if offset >= first && offset <= last {
				if !errors.Is(r.Err, ErrStorage) || len(r.Records) > 0 {
					w.tb.Fatalf("round %d, offset %d of damaged %d to %d: error %v", round, offset, first, last, r.Err)
				}
				continue
			}
			if got := bytes.Join(r.Records, nil); len(got) == 0 || !bytes.HasPrefix(w.from(keyA, offset), got) {
				w.tb.Fatalf("round %d, offset %d next to damaged %d to %d: error %v", round, offset, first, last, r.Err)
			}
		}
	}
}

// TestDamagedSectionIsMadeAgain damages the sections of all segments: all records are read,
// and no more than once to make the sections.
func TestDamagedSectionIsMadeAgain(t *testing.T) {
	w := mergedWorld(t)
	bytesOf := int64(0)
	for _, e := range w.extentsIn(keyA, 0, 110) {
		bad := bytes.Clone(w.others[e.Object.Key()])
		bad[e.Position+e.Length+e.IndexLength/2] ^= 1
		w.store.PutNow(e.Object.Key(), bad)
		bytesOf += int64(e.Length)
	}
	for _, offset := range []int64{0, 55, 99} {
		var o reported
		w.restart(o.config)
		w.gets.Store(0)
		if got := w.consume(keyA, offset, w.ends[keyA], 1<<20); !bytes.Equal(got, w.from(keyA, offset)) {
			t.Errorf("the records from offset %d on are not those of the log", offset)
		}
		if n := w.gets.Load(); n > 3*(bytesOf/cache.MaxGet+10) || len(o.damaged) > 0 {
			t.Errorf("%d GETs for %d bytes, damage %v", n, bytesOf, o.damaged)
		}
	}
	for ts := range int64(50) {
		if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, ts); err != nil || at.Offset != 2*ts {
			t.Errorf("time %d: %+v, error %v", ts, at, err)
		}
	}
}

// TestObjectsInPlaceOfMergedOnesAreRefused puts another segment, or half of one, in the
// place of a segment.
func TestObjectsInPlaceOfMergedOnesAreRefused(t *testing.T) {
	w := mergedWorld(t)
	all := w.extentsIn(keyA, 0, 110)
	for i, e := range all {
		for j, other := range all {
			if i == j || e.Object == other.Object {
				continue
			}
			object := w.others[e.Object.Key()]
			for _, b := range [][]byte{w.others[other.Object.Key()], object[:len(object)/2], nil} {
				w.store.PutNow(e.Object.Key(), b)
				w.restart(nil)
				for _, offset := range []int64{e.Base, e.Last} {
					r := w.fetchOne(want(keyA, offset))
					if got := bytes.Join(r.Records, nil); len(got) > 0 && !bytes.HasPrefix(w.from(keyA, offset), got) {
						t.Fatalf("offset %d: wrong records", offset)
					}
					if len(r.Records) == 0 && !errors.Is(r.Err, ErrStorage) {
						t.Fatalf("offset %d: error %v", offset, r.Err)
					}
				}
			}
			w.store.PutNow(e.Object.Key(), object)
		}
	}
}

// TestPageOfMergedExtentsHasACopy loses and damages either copy of a page.
func TestPageOfMergedExtentsHasACopy(t *testing.T) {
	w := newWorld(t, nil)
	for range 70 {
		from := w.ends[keyA]
		w.values("a")
		w.merge(true, merging{keyA, from, from + 1})
	}
	key := w.page(1)
	good, err := w.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	lose := map[string]func(key string){
		"gone":    func(key string) { w.store.DeleteNow(key) },
		"damaged": func(key string) { w.store.PutNow(key, bad) },
	}
	for name, lose := range lose {
		for _, lost := range [][]string{{key}, {key + ".copy"}, {key, key + ".copy"}} {
			w.store.PutNow(key, good)
			w.store.PutNow(key+".copy", good)
			for _, key := range lost {
				lose(key)
			}
			w.restart(nil)
			for offset := range int64(70) {
				_, page, _, _ := w.view.State.Find(keyA, offset, 1)
				r := w.fetchOne(want(keyA, offset))
				if gone := page != nil && len(lost) == 2; errors.Is(r.Err, ErrStorage) != gone || (len(r.Records) == 0) != gone {
					t.Errorf("%s %v, offset %d: error %v", name, lost, offset, r.Err)
				}
			}
		}
	}
}

// TestDamagedSourceInTheMergedListIsReadAsBefore has an extent of a journal object among
// merged ones.
func TestDamagedSourceInTheMergedListIsReadAsBefore(t *testing.T) {
	w := newWorld(t, nil)
	for range 4 {
		w.values("a", "b")
	}
	w.merge(true, merging{keyA, 0, 2})
	damaged := w.extentsIn(keyA, 2, 4)
	w.entry(partlog.Intent{Job: segment.ID{8}, Objects: []segment.Name{segment.SharedSegment(testJournal, segment.ID{8})}}.Encode())
	result := partlog.Result{Job: segment.ID{8}, Last: true, Parts: []partlog.ResultPart{{Key: keyA, From: 2, To: 4, Extents: damaged}}}
	w.entry(result.Encode())
	w.merge(true, merging{keyA, 4, 6})
	w.deleteUnnamed()
	w.restart(nil)
	if got := values(t, w.fetchOne(want(keyA, 0))); !slices.Equal(got, []string{"0=a", "1=b", "2=a", "3=b", "4=a", "5=b", "6=a", "7=b"}) {
		t.Errorf("records %v", got)
	}
	w.store.DeleteNow(damaged[0].Object.Key())
	w.restart(nil)
	for offset := range int64(8) {
		if r := w.fetchOne(want(keyA, offset)); errors.Is(r.Err, ErrStorage) != (offset == 2 || offset == 3) {
			t.Errorf("offset %d: error %v", offset, r.Err)
		}
	}
}

// TestMergedDamageOnTheWayIsNone has every other read damaged.
func TestMergedDamageOnTheWayIsNone(t *testing.T) {
	w := mergedWorld(t)
	var o reported
	w.restart(o.config)
	w.reader.cfg.Concurrency = 1
	calls := 0 // one after the other: each range is read again at once
	w.faults(func(c mem.Call) mem.Action {
		if calls++; calls%2 == 1 {
			return mem.BitFlipped(8 * 100)
		}
		return mem.Action{}
	})
	for offset := range int64(110) {
		p := want(keyA, offset)
		p.MaxBytes = 1
		if got := values(t, w.fetchOne(p)); len(got) == 0 {
			t.Errorf("offset %d: no records", offset)
		}
	}
	if len(o.damaged) > 0 {
		t.Errorf("reported %v", o.damaged)
	}
}
