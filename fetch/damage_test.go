package fetch

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestDamageIsNeverServed flips bits all over the object: a fetch gives the
// records as they were written, or an error.
func TestDamageIsNeverServed(t *testing.T) {
	for _, far := range []bool{false, true} {
		w := newWorld(t, nil)
		w.far = far
		w.serveAllDamaged()
	}
}

func (w *world) serveAllDamaged() {
	w.tb.Helper()
	seq := w.commit(map[partlog.Key][][]byte{keyA: {
		batchOf(1, "first", "second"),
		batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "third", "third"), Codec: batch.Zstd}),
	}})
	object := w.objects[seq]
	f, _, err := segment.DecodeFooterTail(object, int64(len(object)))
	if err != nil {
		w.tb.Fatal(err)
	}
	begin, end := int(f.Partitions[0].Position), int(f.Partitions[0].Position+f.Partitions[0].Length)
	batches := w.log[keyA]
	for at := range object {
		// Base offset and length are not covered by a batch's CRC: flip all their bits.
		inHeader := at >= begin && at < begin+12 || at >= begin+len(batches[0]) && at < begin+len(batches[0])+12
		for bit := range 8 {
			if inHeader || bit == at%8 {
				w.serveDamaged(seq, at, bit, at >= begin && at < end)
			}
		}
	}
}

// serveDamaged fetches an object in which one bit is flipped. If it lies in the
// records they must not all be served.
func (w *world) serveDamaged(seq uint64, at, bit int, inRecords bool) {
	w.tb.Helper()
	damaged := bytes.Clone(w.objects[seq])
	damaged[at] ^= 1 << bit
	w.store.PutNow(segment.JournalKey(testJournal, seq), damaged)
	w.restart(nil)
	defer w.reader.cfg.Cache.Close()
	r := w.fetchOne(want(keyA, 0))
	got, whole := bytes.Join(r.Records, nil), bytes.Join(w.log[keyA], nil)
	switch {
	case !bytes.HasPrefix(whole, got):
		w.tb.Fatalf("byte %d, bit %d: damaged records were served", at, bit)
	case inRecords && len(got) == len(whole):
		w.tb.Errorf("byte %d, bit %d: damage in the records went unseen", at, bit)
	case len(got) == 0 && !errors.Is(r.Err, ErrStorage):
		w.tb.Errorf("byte %d, bit %d: no records and error %v", at, bit, r.Err)
	case r.HighWatermark != 4:
		w.tb.Errorf("byte %d, bit %d: result %+v", at, bit, r)
	}
}

func TestDamageOnTheWayIsReadAgain(t *testing.T) {
	w := newWorld(t, nil)
	big := strings.Repeat("x", 400<<10) // too large to come with the footer
	w.values(big)
	w.faults(func(c mem.Call) mem.Action {
		if c.Op == "get_range" {
			return mem.BitFlipped(8 * 1000)
		}
		return mem.Action{}
	})
	if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) {
		t.Fatalf("error %v, want ErrStorage", r.Err)
	}
	w.faults(nil)
	w.forgive()
	if got := values(t, w.fetchOne(want(keyA, 0))); len(got) != 1 {
		t.Errorf("records %v", got)
	}
}

func TestObjectsOfOthersAreRefused(t *testing.T) {
	rebuild := func(change func(*segment.Header, *segment.Records)) func(t *testing.T, w *world) []byte {
		return func(t *testing.T, w *world) []byte {
			object, err := segment.Decode(w.objects[w.seq])
			if err != nil {
				t.Fatal(err)
			}
			h, p := object.Footer.Header, &object.Footer.Partitions[0]
			r := segment.Records{Batches: [][]byte{bytes.Clone(object.Batches(p))}}
			r.Topic, r.Index, r.LeaderEpoch = p.Topic, p.Index, p.LeaderEpoch
			change(&h, &r)
			b, _, err := segment.Build(h, object.Entries, []segment.Records{r})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	for name, make := range map[string]func(*testing.T, *world) []byte{
		"another cluster":   rebuild(func(h *segment.Header, _ *segment.Records) { h.Cluster[0]++ }),
		"another journal":   rebuild(func(h *segment.Header, _ *segment.Records) { h.Journal++ }),
		"another seq":       rebuild(func(h *segment.Header, _ *segment.Records) { h.Seq++ }),
		"another partition": rebuild(func(_ *segment.Header, r *segment.Records) { r.Index++ }),
		"other records": rebuild(func(_ *segment.Header, r *segment.Records) {
			r.Batches[0] = batchOf(1, "a")
			batch.Patch(r.Batches[0], 0, 1)
		}),
		"another offset": rebuild(func(_ *segment.Header, r *segment.Records) { batch.Patch(r.Batches[0], 7, 1) }),
		"another epoch":  rebuild(func(_ *segment.Header, r *segment.Records) { batch.Patch(r.Batches[0], 0, 9); r.LeaderEpoch = 9 }),
		"a fence": func(t *testing.T, w *world) []byte {
			w.seq--
			b, _, err := segment.Build(w.header(segment.KindFence), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		"no object": func(*testing.T, *world) []byte { return []byte("nothing of ours") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			seq := w.values("A")
			w.store.PutNow(segment.JournalKey(testJournal, seq), make(t, w))
			if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) || len(r.Records) > 0 {
				t.Errorf("%+v, want ErrStorage", r)
			}
			w.far = true
			w.restart(nil)
			// The records alone are read here: they are the right ones in some.
			if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) && !slices.EqualFunc(r.Records, w.log[keyA], bytes.Equal) {
				t.Errorf("far from the tail: %+v, want ErrStorage or the records", r)
			}
			w.restart(nil)
			recent := NewRecent(testJournal, 1<<20)
			recent.Add(seq, inMemory(make(t, w)))
			w.view.Tail = recent
			if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) || len(r.Records) > 0 {
				t.Errorf("from the leader's memory: %+v, want ErrStorage", r)
			}
		})
	}
}

func TestMissingObjectIsLookedUpOnceMore(t *testing.T) {
	w := newWorld(t, nil)
	seq := w.values("a")
	key := segment.JournalKey(testJournal, seq)
	w.store.DeleteNow(key)
	if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) || w.prover.calls.Load() != 1 {
		t.Errorf("error %v after %d proofs, want ErrStorage after one", r.Err, w.prover.calls.Load())
	}
	if n := w.gets.Load(); n != 2 {
		t.Errorf("%d GETs, want 2", n)
	}
	w.forgive()
	w.prover.do = func(context.Context) error { w.store.PutNow(key, w.objects[seq]); return nil }
	if got := values(t, w.fetchOne(want(keyA, 0))); len(got) != 1 {
		t.Errorf("records %v", got)
	}
}

func TestStoreTroubleIsNotReady(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.faults(func(c mem.Call) mem.Action { return mem.FailBefore(errors.New("no route to host")) })
	if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrNotReady) || errors.Is(r.Err, ErrStorage) {
		t.Errorf("error %v, want ErrNotReady", r.Err)
	}
	w.faults(nil)
	if got := values(t, w.fetchOne(want(keyA, 0))); len(got) != 1 {
		t.Errorf("records %v", got)
	}
}

func TestALossIsAStorageError(t *testing.T) {
	for _, loss := range []error{objstore.ErrNotFound, objstore.ErrRange, segment.ErrCorrupt, segment.ErrUnsupported} {
		w := newWorld(t, nil)
		w.values("a")
		w.faults(func(c mem.Call) mem.Action { return mem.FailBefore(loss) })
		if r := w.fetchOne(want(keyA, 0)); !errors.Is(r.Err, ErrStorage) || errors.Is(r.Err, ErrNotReady) {
			t.Errorf("%v: error %v, want ErrStorage", loss, r.Err)
		}
	}
}

func TestRecordsBeforeDamageAreServed(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.store.DeleteNow(segment.JournalKey(testJournal, w.values("b")))
	if got := values(t, w.fetchOne(want(keyA, 0))); !slices.Equal(got, []string{"0=a"}) {
		t.Errorf("records %v", got)
	}
	if r := w.fetchOne(want(keyA, 1)); !errors.Is(r.Err, ErrStorage) {
		t.Errorf("error %v, want ErrStorage", r.Err)
	}
}
