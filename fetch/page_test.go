package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// paged is a world with n records of partition A, one in each object, in pages of
// size extents as far as they are full.
func paged(t testing.TB, n, size int) *world {
	t.Helper()
	w := newWorld(t, nil)
	for i := range n {
		w.values(fmt.Sprint("value ", i))
		if (i+1)%size == 0 {
			w.page(size)
		}
	}
	w.gets.Store(0)
	return w
}

func TestHistoryIsReadThroughItsPages(t *testing.T) {
	w := paged(t, 50, 15)
	for _, tc := range []struct {
		offset, records int64
		pages           int
	}{
		{0, 30, 2},  // two pages, as many as are read for one answer
		{14, 16, 2}, // the last of the first page
		{15, 35, 2}, // the others, and the extents in memory
		{30, 20, 1},
		{44, 6, 1},
		{45, 5, 0},
	} {
		w.restart(nil)
		pages := 0
		w.faults(func(c mem.Call) mem.Action {
			if strings.Contains(c.Key, "/index/") {
				pages++
			}
			return mem.Action{}
		})
		w.reader.cfg.Concurrency = 1 // one call at a time
		r := w.fetchOne(want(keyA, tc.offset))
		got := values(t, r)
		if int64(len(got)) != tc.records || got[0] != fmt.Sprintf("%d=value %d", tc.offset, tc.offset) || r.HighWatermark != 50 {
			t.Errorf("offset %d: %d records, want %d, first %v", tc.offset, len(got), tc.records, got[0])
		}
		if pages != tc.pages {
			t.Errorf("offset %d: %d pages were read, want %d", tc.offset, pages, tc.pages)
		}
	}
}

func TestHistoryKeepsToTheLimits(t *testing.T) {
	w := paged(t, 100, 40)
	p := want(keyA, 30)
	p.MaxBytes = int32(3 * len(w.log[keyA][0]))
	if got := values(t, w.fetchOne(p)); len(got) < 2 || len(got) > 3 {
		t.Errorf("records %v, want three at most", got)
	}
	if w.gets.Load() > 1+3 {
		t.Errorf("%d GETs for a page and three objects", w.gets.Load())
	}
	if got := values(t, w.fetchOne(want(keyA, 10))); len(got) != maxExtents {
		t.Errorf("%d records, want those of %d objects", len(got), maxExtents)
	}
}

// TestOnlyPagesThatFillTheAnswerAreRead asks for far more partitions than the
// answer has room for.
func TestOnlyPagesThatFillTheAnswerAreRead(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Concurrency = 2 })
	const parts = 20
	var req Request
	for i := range int32(parts) { // an index object for each
		k := partlog.Key{Topic: testTopic, Index: i}
		w.commit(map[partlog.Key][][]byte{k: {batchOf(1, "value")}})
		w.page(1)
		req.Partitions = append(req.Partitions, want(k, 0))
	}
	w.gets.Store(0)
	req.MaxBytes = int32(len(w.log[keyA][0]))
	results := w.fetch(req)
	if got := values(t, results[0]); len(got) != 1 {
		t.Errorf("records %v", got)
	}
	if n := w.gets.Load(); n != 2+1 {
		t.Errorf("%d GETs, want two pages and an object", n)
	}
	for i, r := range results[1:] {
		if r.Err != nil || len(r.Records) > 0 || r.HighWatermark != 1 {
			t.Errorf("partition %d: %+v", i+1, r)
		}
	}

	req.MaxBytes = 50 << 20
	for i, r := range w.fetch(req) {
		if got := values(t, r); len(got) != 1 {
			t.Errorf("partition %d: records %v", i, got)
		}
	}
}

// TestPollOfHistoryDoesNotWait asks for more bytes than there are.
func TestPollOfHistoryDoesNotWait(t *testing.T) {
	w := paged(t, 10, 10)
	if r := w.fetch(poll(1<<20, long, want(keyA, 0)))[0]; len(values(t, r)) != 10 {
		t.Errorf("%+v", r)
	}
}

func TestMissingPageIsLookedUpOnceMore(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	key := w.page(1)
	page, err := w.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	ask := map[string]func() error{
		"fetch":       func() error { return w.fetchOne(want(keyA, 0)).Err },
		"list offset": func() error { _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, 1); return err },
		"newest":      func() error { _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, MaxTimestamp); return err },
	}
	for name, ask := range ask {
		w.restart(nil)
		w.store.DeleteNow(key)
		w.gets.Store(0)
		w.prover.calls.Store(0)
		w.prover.do = nil
		proofs := int64(1)
		if name == "newest" {
			proofs++ // one before it reads: the deletion may be younger
		}
		if err := ask(); !errors.Is(err, ErrStorage) || w.prover.calls.Load() != proofs || w.gets.Load() != 2 {
			t.Errorf("%s: error %v after %d proofs and %d GETs, want ErrStorage after %d and two", name, err, w.prover.calls.Load(), w.gets.Load(), proofs)
		}
		w.forgive()
		w.prover.do = func(context.Context) error { w.store.PutNow(key, page); return nil }
		if err := ask(); err != nil {
			t.Errorf("%s: the page is there again: error %v", name, err)
		}
	}
}

// TestALostPageIsRemembered: no request is sent for it for two seconds, and it is served after
// these if it is restored. A Fetch waits all the same (errorWait), for its client's sake.
func TestALostPageIsRemembered(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	key := w.page(1)
	page, err := w.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error { return w.fetchOne(want(keyA, 0)).Err }
	w.store.DeleteNow(key)
	if err := ask(); !errors.Is(err, ErrStorage) {
		t.Fatalf("error %v, want ErrStorage", err)
	}
	w.store.PutNow(key, page)
	w.gets.Store(0)
	for range 100 {
		if err := ask(); !errors.Is(err, ErrStorage) || w.gets.Load() > 0 {
			t.Fatalf("error %v, %d GETs, want ErrStorage without a request", err, w.gets.Load())
		}
		w.clock.Add(int64(firstVerdict / 101))
	}
	w.clock.Add(int64(firstVerdict / 10))
	if err := ask(); err != nil {
		t.Errorf("the page is there again: %v", err)
	}
}

func TestDamagedPageIsNeverUsed(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.values("b")
	key := w.page(1)
	good, err := w.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for at := segment.BlobHeaderSize; at < len(good); at++ {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1 << (at % 8)
		w.store.PutNow(key, bad)
		w.forgive()
		if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) || len(r.Records) > 0 || r.HighWatermark != 2 {
			t.Fatalf("byte %d: %+v, want ErrStorage", at, r)
		}
		if _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, 1); !errors.Is(err, ErrStorage) {
			t.Fatalf("byte %d: error %v, want ErrStorage", at, err)
		}
	}
	w.store.PutNow(key, good[:len(good)-1])
	w.forgive()
	if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) {
		t.Fatalf("cut short: %+v, want ErrStorage", r)
	}
	w.store.PutNow(key, good) // no cache keeps the damage
	w.forgive()
	if got := values(t, w.fetchOne(want(keyA, 0))); len(got) != 2 {
		t.Errorf("records %v", got)
	}
}

func TestPageOutOfReachIsNotReady(t *testing.T) {
	w := paged(t, 10, 10)
	w.faults(func(c mem.Call) mem.Action { return mem.FailBefore(errors.New("no route to host")) })
	if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrNotReady) || errors.Is(r.Err, ErrStorage) {
		t.Errorf("error %v, want ErrNotReady", r.Err)
	}
}

func TestRecordsBeforeAMissingPageAreServed(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.page(1)
	w.values("b")
	w.store.DeleteNow(w.page(1))
	if got := values(t, w.fetchOne(want(keyA, 0))); len(got) != 1 {
		t.Errorf("records %v", got)
	}
	if r := w.fetchOne(want(keyA, 1)); !errors.Is(r.Err, ErrStorage) {
		t.Errorf("error %v, want ErrStorage", r.Err)
	}
}
