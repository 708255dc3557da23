package merge

import (
	"math"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// expectCounted expects that a partition has bytes to be merged, those of its extents, and
// that Results have counted all others but deleted ones.
func (w *world) expectCounted(t *testing.T, k partlog.Key, deleted int64) {
	t.Helper()
	x, _ := w.state.SurveyOf(k)
	left := int64(0)
	for _, e := range w.extents(k) {
		if e.Base >= x.Merged {
			left += int64(e.Length)
		}
	}
	if left == 0 || x.JournalBytes != left || x.DeletedBytes != deleted {
		t.Errorf("%d bytes are to be merged, and %d were deleted before; want %d and %d", x.JournalBytes, x.DeletedBytes, left, deleted)
	}
}

// deletions are when records are deleted that no job has merged.
var deletions = map[string]func(w *world, k partlog.Key, lost map[string]bool){
	"before the job is planned": func(w *world, k partlog.Key, _ map[string]bool) {
		w.deleteBefore(k, w.extents(k)[2].Base+1)
	},
	"while the job is under way": func(w *world, k partlog.Key, _ map[string]bool) {
		before := w.extents(k)[2].Base
		w.onCarry = func([]segment.Entry) error {
			w.deleteBefore(k, before)
			return nil
		}
	},
	"before a range that is given up": func(w *world, k partlog.Key, lost map[string]bool) {
		w.deleteBefore(k, w.extents(k)[1].Base)
		lost[w.extents(k)[0].Object.Key()] = true
	},
	"before all ranges, which are given up": func(w *world, k partlog.Key, lost map[string]bool) {
		w.deleteBefore(k, w.extents(k)[1].Base)
		for _, e := range w.extents(k) {
			lost[e.Object.Key()] = true
		}
	},
}

// TestAResultCountsRangesThatWereDeleted: or they would be to be merged forever.
func TestAResultCountsRangesThatWereDeleted(t *testing.T) {
	for name, remove := range deletions {
		t.Run(name, func(t *testing.T) {
			w, lost := newWorld(t, 2, seeded.Seed(t)), map[string]bool{}
			w.fault = func(c mem.Call) mem.Action {
				if lost[c.Key] && c.Op != objstore.OpCreate {
					return mem.Missing()
				}
				return mem.Action{}
			}
			k := w.keys()[0]
			for range 6 {
				w.produceTo(2, 100, k)
			}
			w.opt.DueBytes, w.opt.JobBytes = 1, 1<<20
			w.lead()
			remove(w, k, lost)
			for range 8 { // until a lost range is given up
				deletes := w.onCarry
				w.onCarry = func(entries []segment.Entry) error {
					w.onCarry = deletes
					w.produceTo(2, 100, k) // or the Result reaches the end of the log, and counts all
					if deletes != nil {
						return deletes(entries)
					}
					return nil
				}
				if _, err := w.merger.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if x, _ := w.state.SurveyOf(k); x.Merged > x.View.Start {
					break
				}
				w.now = w.now.Add(15 * time.Minute)
			}
			w.expectCounted(t, k, 0)
		})
	}
}

// TestAResultBelowTheStartIsCountedByTheNext: it changes nothing.
func TestAResultBelowTheStartIsCountedByTheNext(t *testing.T) {
	w := newWorld(t, 1, seeded.Seed(t))
	k := w.keys()[0]
	w.opt.DueBytes = 1
	w.produceTo(2, 100, k)
	w.lead()
	w.onCarry = func([]segment.Entry) error {
		w.onCarry = nil
		w.deleteBefore(k, w.ends[k])
		w.produceTo(2, 100, k)
		return nil
	}
	if _, err := w.merger.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	x, _ := w.state.SurveyOf(k)
	if x.Merged != 0 || x.DeletedBytes == 0 {
		t.Fatalf("merged up to %d", x.Merged)
	}
	w.expectCounted(t, k, x.DeletedBytes)
	w.onCarry = func([]segment.Entry) error {
		w.onCarry = nil
		w.produceTo(2, 100, k)
		return nil
	}
	if _, err := w.merger.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expectCounted(t, k, 0)
}

// TestFreedRecordsWereAppended: they stay in the credit for merging extents again. Else a
// journal from which retention takes as much as comes would join nothing.
func TestFreedRecordsWereAppended(t *testing.T) {
	w := newWorld(t, 1, seeded.Seed(t))
	k := w.keys()[0]
	w.opt.DueBytes = 1
	w.lead()
	least := int64(math.MinInt64)
	for range 5 {
		w.produceTo(4, 100, k)
		w.work()
		if done := w.merger.Debt().Done; done <= least {
			t.Errorf("%d bytes did not wait any more, after %d", done, least)
		} else {
			least = done
		}
		freed := partlog.Release{Class: partlog.ClassUser, Freed: []partlog.Freed{{Key: k, Offset: w.ends[k]}}}
		for _, e := range w.extents(k) {
			freed.Objects = append(freed.Objects, e.Object)
		}
		w.deleteBefore(k, w.ends[k])
		w.object(segment.KindData, []segment.Entry{freed.Encode()}, nil)
	}
}
