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
	"github.com/varvelog/varve/tiering/partlog"
)

// TestAnswerHasARecordIfThereIsOne asks for offsets where a compaction has left gaps.
func TestAnswerHasARecordIfThereIsOne(t *testing.T) {
	w := newWorld(t, nil)
	for range 6 {
		w.values("a", "b", "c", "d")
	}
	w.commit(map[partlog.Key][][]byte{keyB: {batchOf(1, "b", "b")}})
	left := map[int64]bool{1: true, 13: true, 14: true, 23: true}
	log := w.log[keyA]
	w.log[keyA] = nil
	for _, b := range log {
		if b = without(t.Fatal, b, func(offset int64) bool { return !left[offset] }); b != nil {
			w.log[keyA] = append(w.log[keyA], b)
		}
	}
	w.merge(true, merging{keyA, 0, 12})
	w.merge(true, merging{keyA, 12, 20})
	w.merge(true, merging{keyA, 20, 24})
	w.restart(nil)
	for offset := range int64(24) {
		next := offset
		for !left[next] {
			next++
		}
		for _, way := range []string{"alone", "behind another", "standing"} {
			p, other := want(keyA, offset), want(keyB, 0)
			p.MaxBytes, other.MaxBytes = 1, 10_000
			req := request(p)
			switch way {
			case "behind another":
				p.MaxBytes = 10_000
				req = request(other, p)
			case "standing":
				req.Partitions, req.Standing = nil, NewStanding()
				req.Standing.Set(0, 0, p)
				defer req.Standing.Close()
			}
			results := w.fetch(req)
			r := results[len(results)-1]
			if got := values(t, r); !slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, fmt.Sprint(next, "=")) }) {
				t.Errorf("offset %d, %s: records %v, want that of offset %d", offset, way, got, next)
			}
		}
	}
}

// TestGapsCostFewGETs counts those of a read that begins in a gap of a large extent.
func TestGapsCostFewGETs(t *testing.T) {
	w := newWorld(t, nil)
	for range 12 {
		w.commit(map[partlog.Key][][]byte{keyA: {bigBatch(1, 600<<10)}})
	}
	w.log[keyA] = slices.Delete(w.log[keyA], 5, 8) // the first extent ends with a gap
	w.merge(true, merging{keyA, 0, 7})
	w.merge(true, merging{keyA, 7, 12})
	for offset := range int64(12) {
		w.restart(nil)
		w.gets.Store(0)
		p := want(keyA, offset)
		p.MaxBytes = 100
		if got := values(t, w.fetchOne(p)); len(got) != 1 {
			t.Errorf("offset %d: records %v", offset, len(got))
		}
		if n := w.gets.Load(); n > 3 {
			t.Errorf("offset %d: %d GETs", offset, n)
		}
	}
	if s := w.reader.cfg.Cache.Replays(); s.Read > 3*cache.BlockSize {
		t.Errorf("%d bytes were read for one record", s.Read)
	}
}

// TestDamageBehindAGapIsAnError: batches before it that have no record for the client must
// not hide it. Some clients do not get past them, and would ask for the same offset forever.
func TestDamageBehindAGapIsAnError(t *testing.T) {
	w := newWorld(t, nil)
	for range 3 {
		w.values("a", "b", "c", "d")
	}
	w.log[keyA][0] = without(t.Fatal, w.log[keyA][0], func(offset int64) bool { return offset > 1 })
	w.merge(true, merging{keyA, 0, 4})
	damaged := w.merge(true, merging{keyA, 4, 12})
	b := bytes.Clone(w.others[damaged.Key()])
	b[len(b)/3] ^= 1
	w.restart(nil)
	w.store.PutNow(damaged.Key(), b)
	for _, maxBytes := range []int32{1, 1 << 20} {
		p := want(keyA, 2)
		p.MaxBytes = maxBytes
		if r := w.fetchOne(p); !errors.Is(r.Err, ErrStorage) || len(r.Records) > 0 {
			t.Errorf("at most %d bytes: %d parts, error %v", maxBytes, len(r.Records), r.Err)
		}
	}
	if r := w.fetchOne(want(keyA, 1)); r.Err != nil || len(values(t, r)) == 0 {
		t.Errorf("the record before the damage: %v", r.Err)
	}
}

// TestBrokersTimeIsThatOfARecordThatIsThere: the first records of the batch were removed.
func TestBrokersTimeIsThatOfARecordThatIsThere(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a", "b", "c", "d")
	b := without(t.Fatal, w.log[keyA][0], func(offset int64) bool { return offset < 2 })
	batch.SetLogAppendTime(b, 70)
	w.log[keyA][0] = b
	w.merge(true, merging{keyA, 0, 4})
	w.restart(nil)
	for _, timestamp := range []int64{3, 70, MaxTimestamp} {
		if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, timestamp); err != nil || at != (OffsetAt{2, 70, 1}) {
			t.Errorf("timestamp %d: %+v, %v", timestamp, at, err)
		}
	}
}
