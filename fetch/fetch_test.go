package fetch

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestFetchReturnsCommittedRecords(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a", "b")
	w.values("c")
	r := w.fetchOne(want(keyA, 0))
	if got := values(t, r); !slices.Equal(got, []string{"0=a", "1=b", "2=c"}) {
		t.Errorf("records %v", got)
	}
	if r.HighWatermark != 3 || r.LogStart != 0 || r.Epoch != 1 {
		t.Errorf("result %+v", r)
	}
}

// drawLog commits some objects with batches of very different sizes. In one of
// eight logs they cross blocks of the cache, or cover several.
func drawLog(t *rapid.T, w *world) {
	sizes := []int{1, 50, 3_000, 20_000, 70_000}
	if rapid.SampledFrom([]int{1, 2, 3, 4, 5, 6, 7, 8}).Draw(t, "one of eight") == 8 {
		sizes = []int{1, 600_000, 1_300_000}
	}
	for range rapid.IntRange(1, 4).Draw(t, "objects") {
		object := map[partlog.Key][][]byte{}
		for _, k := range []partlog.Key{keyA, keyB} {
			object[k] = nil
			for range rapid.IntRange(0, 5).Draw(t, "batches") {
				size := rapid.SampledFrom(sizes).Draw(t, "size")
				value := bytes.Repeat([]byte{byte(len(object[k]))}, size)
				records := []batchtest.Record{{Value: value, Timestamp: 1}}
				for range rapid.IntRange(0, 3).Draw(t, "more") {
					records = append(records, batchtest.Record{Timestamp: 1})
				}
				object[k] = append(object[k], batchtest.Build(batchtest.Spec{Records: records}))
			}
		}
		w.commit(object)
		if rapid.IntRange(0, 2).Draw(t, "page") == 0 {
			w.page(rapid.IntRange(1, 3).Draw(t, "least"))
		}
	}
}

// expect returns the records that a partition gives from offset on: whole batches up to
// limit bytes, but at least one with atLeastOne.
func (w *world) expect(k partlog.Key, offset, limit int64, atLeastOne bool) []byte {
	var out []byte
	for _, b := range w.log[k] {
		h, err := batch.Parse(b)
		if err != nil {
			w.tb.Fatal(err)
		}
		if h.LastOffset() < offset {
			continue
		}
		if int64(len(out)+len(b)) > limit && (len(out) > 0 || !atLeastOne) {
			break
		}
		out = append(out, b...)
	}
	return out
}

// TestFetchMatchesANaiveLog reads random logs at random offsets with random
// limits, from memory and from the store.
func TestFetchMatchesANaiveLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newInPlaceWorld(t)
		w.far = rapid.Bool().Draw(rt, "far")
		w.restart(nil)
		drawLog(rt, w)
		if rapid.Bool().Draw(rt, "leader") {
			recent := NewRecent(testJournal, 5<<20)
			for seq := uint64(0); seq <= w.seq; seq++ {
				if b := w.objects[seq]; b != nil {
					recent.Add(seq, inMemory(b))
				}
			}
			w.view.Tail = recent
		}
		limits := rapid.SampledFrom([]int32{0, 1, 100, 5_000, 100_000, 1 << 20, 4 << 20, 50 << 20})
		for range 8 {
			a, b := want(keyA, 0), want(keyB, 0)
			a.Offset = rapid.Int64Range(0, w.ends[keyA]).Draw(rt, "offset of A")
			b.Offset = rapid.Int64Range(0, w.ends[keyB]).Draw(rt, "offset of B")
			a.MaxBytes, b.MaxBytes = limits.Draw(rt, "limit of A"), limits.Draw(rt, "limit of B")
			req := request(a, b)
			req.MaxBytes = limits.Draw(rt, "limit")
			results := w.fetch(req)
			for i := range results {
				if results[i].Err != nil {
					rt.Fatal(results[i].Err)
				}
			}
			total := int64(req.MaxBytes)
			gotA, gotB := bytes.Join(results[0].Records, nil), bytes.Join(results[1].Records, nil)
			wantA := w.expect(keyA, a.Offset, min(total, int64(a.MaxBytes)), true)
			// With several pages it may get less than would fit, as the second one may.
			if !bytes.Equal(gotA, wantA) && (w.pages < 2 || len(gotA) == 0 || !bytes.HasPrefix(wantA, gotA)) {
				rt.Fatalf("A at %d with %d of %d: %d bytes, want %d", a.Offset, a.MaxBytes, total, len(gotA), len(wantA))
			}
			// The second partition may get less than would fit, when more objects than
			// expected were needed, but never anything else.
			wantB := w.expect(keyB, b.Offset, min(total-int64(len(gotA)), int64(b.MaxBytes)), len(gotA) == 0)
			if !bytes.HasPrefix(wantB, gotB) || len(gotA) == 0 && w.pages < 2 && len(gotB) != len(wantB) || len(gotA)+len(gotB) == 0 && len(wantB) > 0 {
				rt.Fatalf("B at %d with %d of %d after %d: %d bytes, want %d", b.Offset, b.MaxBytes, total, len(gotA), len(gotB), len(wantB))
			}
		}
		w.readThrough(rt, keyA)
		w.readThrough(rt, keyB)
		w.reader.cfg.Cache.Close()
	})
}

// readThrough consumes a partition from its start as a client would.
func (w *world) readThrough(t *rapid.T, k partlog.Key) {
	limit := rapid.SampledFrom([]int32{1, 100_000, 1 << 20}).Draw(t, "limit of a consumer")
	var got []byte
	for offset := int64(0); offset < w.ends[k]; {
		p := want(k, offset)
		p.MaxBytes = limit
		b := bytes.Join(w.fetchOne(p).Records, nil)
		if len(b) == 0 {
			t.Fatalf("no progress at offset %d of %d", offset, w.ends[k])
		}
		_ = batch.Walk(b, func(_ int, h batch.Header) error { offset = h.LastOffset() + 1; return nil })
		got = append(got, b...)
	}
	if want := bytes.Join(w.log[k], nil); !bytes.Equal(got, want) {
		t.Fatalf("a consumer of %v got %d bytes, the log has %d", k, len(got), len(want))
	}
}

func TestFirstPartitionWithRecordsGivesOneBatchHoweverLarge(t *testing.T) {
	w := newWorld(t, nil)
	big := strings.Repeat("x", 5000)
	w.commit(map[partlog.Key][][]byte{
		keyA: {batchOf(1, big), batchOf(1, big)},
		keyB: {batchOf(1, big)},
	})
	end := want(keyA, 2)
	small, other := want(keyA, 0), want(keyB, 0)
	small.MaxBytes, other.MaxBytes = 10, 10
	results := w.fetch(request(end, small, other))
	for i, n := range []int{0, 1, 0} {
		if got := values(t, results[i]); len(got) != n {
			t.Errorf("partition %d of the request gives %d records, want %d", i, len(got), n)
		}
	}
	req := request(small, other)
	req.MaxBytes = 0
	if got := values(t, w.fetch(req)[0]); len(got) != 1 {
		t.Errorf("a request without room gives %d records, want one batch", len(got))
	}
}

func TestBatchesOfABlockAreNotCopied(t *testing.T) {
	w := newWorld(t, nil)
	w.commit(map[partlog.Key][][]byte{keyA: {batchOf(1, "a"), batchOf(1, "b"), batchOf(1, "c")}})
	first, second := w.hold(want(keyA, 0)), w.hold(want(keyA, 0))
	if len(first.Records) != 1 || &first.Records[0][0] != &second.Records[0][0] {
		t.Errorf("%d pieces of records; they must be one piece of the cached block", len(first.Records))
	}
}

func TestConcurrentFetchesAreOneGet(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	release := make(chan struct{})
	entered := make(chan struct{}, 100)
	w.faults(func(mem.Call) mem.Action {
		entered <- struct{}{}
		<-release
		return mem.Action{}
	})
	var consumers sync.WaitGroup
	for range 20 {
		consumers.Go(func() {
			if r := w.fetchOne(want(keyA, 0)); r.Err != nil || len(r.Records) != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
	<-entered
	close(release)
	consumers.Wait()
	if n := w.gets.Load(); n != 1 {
		t.Errorf("%d GETs, want 1", n)
	}
}

// TestSequentialReaderReadsEachByteOnce consumes objects of 8 MiB with fetches of
// 1 MiB.
func TestSequentialReaderReadsEachByteOnce(t *testing.T) {
	w := newWorld(t, nil)
	for range 2 {
		var batches [][]byte
		for range 80 {
			batches = append(batches, batchOf(1, strings.Repeat("x", 100_000)))
		}
		w.commit(map[partlog.Key][][]byte{keyA: batches})
	}
	for offset := int64(0); offset < w.ends[keyA]; {
		r := w.fetchOne(want(keyA, offset))
		offset += int64(len(values(t, r)))
	}
	// For each object its footer and at most one GET for each of its blocks.
	if n := w.gets.Load(); n > 2*(1+8) {
		t.Errorf("%d GETs, want at most 18", n)
	}
}

func TestFullResponseReadsNoFurtherObject(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.values("b")
	p := want(keyA, 0)
	p.MaxBytes = int32(len(w.log[keyA][0]))
	if got := values(t, w.fetchOne(p)); len(got) != 1 || w.gets.Load() != 1 {
		t.Errorf("%d records after %d GETs, want 1 after 1", len(got), w.gets.Load())
	}
}

func TestLeaderServesFromMemory(t *testing.T) {
	w := newWorld(t, nil)
	recent := NewRecent(testJournal, 1<<20)
	w.view.Tail = recent
	seq := w.values("a")
	recent.Add(seq, inMemory(w.objects[seq]))
	if got := values(t, w.fetchOne(want(keyA, 0))); len(got) != 1 || w.gets.Load() != 0 {
		t.Errorf("records %v after %d GETs, want none", got, w.gets.Load())
	}
}

func TestResponsesHoldBoundedMemory(t *testing.T) {
	value := strings.Repeat("x", 700)
	w := newWorld(t, func(c *Config) { c.MaxResponseBytes = 1000 })
	w.values(value)
	w.values(strings.Repeat("y", 5000))

	first := w.reader.Fetch(t.Context(), request(want(keyA, 0)))
	if got := values(t, first.Results[0]); len(got) != 1 {
		t.Fatalf("%d records", len(got))
	}
	unused := 1000 - int64(len(w.log[keyA][0]))
	if !w.reader.memory.TryAcquire(unused) || w.reader.memory.TryAcquire(1) {
		t.Error("a response does not hold exactly the memory of its records")
	}
	w.reader.memory.Release(unused)
	short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	second := w.reader.Fetch(short, request(want(keyA, 0)))
	if got := values(t, second.Results[0]); len(got) != 1 || second.Results[0].HighWatermark != 2 {
		t.Errorf("without room: %d records, want those of one batch", len(got))
	}
	second.Release()
	if w.reader.memory.TryAcquire(unused + 1) {
		t.Error("a response that took no room gave some back")
	}

	waiting := make(chan *Response)
	go func() { waiting <- w.reader.Fetch(t.Context(), request(want(keyA, 0))) }()
	first.Release()
	third := <-waiting
	if got := values(t, third.Results[0]); len(got) != 1 {
		t.Errorf("%d records after the release", len(got))
	}
	third.Release()
	if got := values(t, w.fetchOne(want(keyA, 1))); len(got) != 1 {
		t.Errorf("a batch above all limits gives %d records", len(got))
	}
	if !w.reader.memory.TryAcquire(1000) {
		t.Error("released responses still hold memory")
	}
}

func TestRecentKeepsTheLastObjects(t *testing.T) {
	r := NewRecent(testJournal, 100)
	for seq := range uint64(10) {
		r.Add(seq, inMemory(make([]byte, 30)))
		r.Add(seq, inMemory(make([]byte, 30))) // again: not counted twice
	}
	r.Add(99, inMemory(make([]byte, 101)))
	for seq, want := range map[uint64]bool{6: false, 7: true, 8: true, 9: true, 99: false} {
		if _, ok := r.Object(segment.DataObject(testJournal, seq)); ok != want {
			t.Errorf("seq %d kept: %t, want %t", seq, ok, want)
		}
	}
}

func TestBadReaderConfigIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*Config){
		"no cluster":      func(c *Config) { c.Cluster = segment.ID{} },
		"no cache":        func(c *Config) { c.Cache = nil },
		"no journals":     func(c *Config) { c.Journal = nil },
		"no locations":    func(c *Config) { c.Locate = nil },
		"negative memory": func(c *Config) { c.MaxResponseBytes = -1 },
	} {
		cfg := w.reader.cfg
		change(&cfg)
		if _, err := NewReader(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
