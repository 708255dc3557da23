package fetch

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestBatchesAcrossBlocksAreNotCopied has batches of which two cross the edge of
// a block of the cache.
func TestBatchesAcrossBlocksAreNotCopied(t *testing.T) {
	w := newInPlaceWorld(t)
	value := strings.Repeat("x", 700<<10)
	w.commit(map[partlog.Key][][]byte{keyA: {batchOf(1, value), batchOf(1, value), batchOf(1, value)}})
	p := want(keyA, 0)
	p.MaxBytes = 50 << 20
	first, second := w.hold(p), w.hold(p)
	if !bytes.Equal(bytes.Join(first.Records, nil), bytes.Join(w.log[keyA], nil)) {
		t.Error("the records are not those of the log")
	}
	if len(first.Records) != 3 {
		t.Errorf("%d pieces of records, want one of each block", len(first.Records))
	}
	for i := range first.Records {
		if &first.Records[i][0] != &second.Records[i][0] {
			t.Errorf("piece %d is a copy", i)
		}
	}
}

// TestRecordsInMemoryAreCheckedOnce changes records where they lie in memory, as no program
// may, to see whether they are checked again.
func TestRecordsInMemoryAreCheckedOnce(t *testing.T) {
	for _, leader := range []bool{false, true} {
		w := newInPlaceWorld(t)
		big := strings.Repeat("x", 400<<10) // in other blocks than the footer
		seq := w.commit(map[partlog.Key][][]byte{keyA: {batchOf(1, big), batchOf(1, big), batchOf(1, big), batchOf(1, big)}})
		object := inMemory(w.objects[seq])
		if leader {
			recent := NewRecent(testJournal, 64<<20)
			recent.Add(seq, object)
			w.view.Tail = recent
		}
		p := want(keyA, 0)
		p.MaxBytes = 3 * int32(len(w.log[keyA][0]))
		if got := values(t, w.fetchOne(p)); len(got) != 3 {
			t.Fatalf("%d records, want 3", len(got))
		}
		flip := func(at int64) {
			memory := object.Bytes()
			if !leader {
				size := int64(len(memory))
				span, err := w.reader.cfg.Cache.Read(t.Context(), cache.Range{Object: segment.JournalKey(testJournal, seq), Pos: 0, Len: size}, size)
				if err != nil {
					t.Fatal(err)
				}
				memory, at = span.Slice(at, 1), 0
			}
			memory[at] ^= 1
			if leader {
				w.objects[seq][at] ^= 1 // or the bucket would be read after the damage
			}
		}
		flip(300 << 10)
		if r := w.fetchOne(p); r.Err != nil {
			t.Errorf("leader %t: records that were checked are checked again: %v", leader, r.Err)
		}
		flip(1500 << 10)
		if leader { // its memory is the truth
			if r := w.fetchOne(want(keyA, 3)); !errors.Is(r.Err, ErrStorage) {
				t.Errorf("records in the leader's memory that were not read before: error %v, want ErrStorage", r.Err)
			}
			continue
		}
		if got := values(t, w.fetchOne(want(keyA, 3))); len(got) != 1 {
			t.Errorf("%d records read again, want 1", len(got))
		}
	}
}

// TestHotFetchAllocatesLittle pins the allocations of a Fetch of one partition that finds
// its records in memory. They must not depend on the number of records.
func TestHotFetchAllocatesLittle(t *testing.T) {
	for _, leader := range []bool{false, true} {
		w := newInPlaceWorld(t)
		var batches [][]byte
		for range 5000 {
			batches = append(batches, batchOf(1, strings.Repeat("x", 500)))
		}
		seq := w.commit(map[partlog.Key][][]byte{keyA: batches})
		if leader {
			recent := NewRecent(testJournal, 64<<20)
			recent.Add(seq, inMemory(w.objects[seq]))
			w.view.Tail = recent
		}
		p := want(keyA, 100)
		req := request(p)
		w.fetch(req)
		const most = 48
		if n := testing.AllocsPerRun(100, func() { w.fetch(req) }); n > most {
			t.Errorf("leader %t: a Fetch of many batches in memory makes %.0f allocations, at most %d are planned for", leader, n, most)
		}
	}
}

// TestIdlePollAllocatesLittle pins the allocations of a Fetch of many partitions that finds
// no records.
func TestIdlePollAllocatesLittle(t *testing.T) {
	w := newInPlaceWorld(t)
	const partitions = 1000
	object := map[partlog.Key][][]byte{}
	var req Request
	for i := range int32(partitions) {
		k := partlog.Key{Topic: testTopic, Index: i}
		object[k] = [][]byte{batchOf(1, "value")}
		req.Partitions = append(req.Partitions, want(k, 1))
	}
	w.commit(object)
	if n := testing.AllocsPerRun(20, func() { w.fetch(req) }); n > 1.1*partitions {
		t.Errorf("an idle poll of %d partitions makes %.0f allocations, one for each is planned for", partitions, n)
	}
}
