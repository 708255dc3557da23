package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMergedRecordsAreThoseOfTheJournal(t *testing.T) {
	w := newWorld(t, 12, seeded.Seed(t))
	w.lead()
	for range 250 { // a trickle, and then more
		w.produce(0.7, 1, 40)
		w.now = w.now.Add(40 * time.Minute)
		w.work()
		w.check()
	}
	for range 20 {
		w.produce(1, 3, 1000)
		w.now = w.now.Add(10 * time.Minute)
		w.work()
		w.check()
	}
	w.now = w.now.Add(2 * time.Hour)
	w.work()
	if journal, _ := w.check(); journal > 0 {
		t.Errorf("%d extents are in the journal, want all of them merged", journal)
	}
	s := w.merger.Stats()
	if s.Jobs[1] == 0 || s.Jobs[2] == 0 || s.Jobs[3] == 0 || s.Failed > 0 || len(w.disk.files) > 0 {
		t.Errorf("jobs by level: %v, %d failed, %d files left", s.Jobs, s.Failed, len(w.disk.files))
	}
}

// keyOf is the key of an object that jobs make.
func isOutput(key string) bool {
	_, ok := segment.ParseMergedKey(key)
	return ok
}

// TestNoByteIsUploadedBeforeItsIntentIsApplied, rule 16.
func TestNoByteIsUploadedBeforeItsIntentIsApplied(t *testing.T) {
	w := newWorld(t, 5, seeded.Seed(t))
	w.lead()
	uploads := 0
	w.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate && isOutput(c.Key) {
			uploads++
			known := false
			for _, in := range w.state.Intents() {
				for _, o := range in.Objects {
					known = known || o.Name.Key() == c.Key
				}
			}
			if !known {
				t.Errorf("%s is uploaded, and the state has no intent for it", c.Key)
			}
		}
		return mem.Action{}
	}
	for range 30 {
		w.produce(1, 3, 200)
		w.now = w.now.Add(time.Hour)
		w.work()
	}
	if uploads == 0 {
		t.Error("no uploads")
	}
}

// TestALeadershipThatEndsAnywhereLosesNothing: the next one goes on.
func TestALeadershipThatEndsAnywhereLosesNothing(t *testing.T) {
	w := newWorld(t, 8, seeded.Seed(t))
	w.lead()
	ended := fmt.Errorf("test: %w", journal.ErrEnded)
	for n := range 150 {
		w.produce(0.5, 3, 200)
		w.now = w.now.Add(20 * time.Minute)
		when := w.rng.IntN(4)
		w.onCarry, w.fault = nil, nil
		ctx, cancel := context.WithCancel(t.Context())
		switch when {
		case 0: // before an entry is committed
			left := w.rng.IntN(2)
			w.onCarry = func([]segment.Entry) error {
				if left--; left < 0 {
					return ended
				}
				return nil
			}
		case 1: // after an entry is committed, before it is known
			left := w.rng.IntN(2)
			w.onCarry = func(entries []segment.Entry) error {
				if left--; left < 0 {
					w.object(segment.KindData, entries, nil)
					return ended
				}
				return nil
			}
		case 2: // with an upload
			left := w.rng.IntN(3)
			w.fault = func(c mem.Call) mem.Action {
				if c.Op == objstore.OpCreate && isOutput(c.Key) {
					if left--; left < 0 {
						cancel()
						return mem.ReplyLost()
					}
				}
				return mem.Action{}
			}
		}
		_, err := w.merger.Run(ctx)
		cancel()
		w.check()
		if err != nil {
			w.onCarry, w.fault = nil, nil
			w.lead()
			if len(w.state.Intents()) > 0 {
				t.Fatalf("round %d: intents %v after a fence", n, w.state.Intents())
			}
		}
	}
	w.onCarry, w.fault = nil, nil
	w.work()
	w.now = w.now.Add(2 * time.Hour)
	w.work()
	if journal, merged := w.check(); journal > 0 || merged == 0 {
		t.Errorf("%d extents in the journal, %d merged", journal, merged)
	}
}

// TestAResultIsClippedByDeletionsThatOvertookIt: the start never goes back.
func TestAResultIsClippedByDeletionsThatOvertookIt(t *testing.T) {
	w := newWorld(t, 6, seeded.Seed(t))
	w.lead()
	for range 60 {
		w.produce(0.8, 3, 200)
		w.now = w.now.Add(30 * time.Minute)
		w.onCarry = func(entries []segment.Entry) error {
			for k, end := range w.ends {
				if v, _ := w.state.Lookup(k); w.rng.IntN(4) == 0 && v.Start < end {
					w.deleteBefore(k, v.Start+w.rng.Int64N(end-v.Start+1))
				}
			}
			return nil
		}
		if _, err := w.merger.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.onCarry = nil
		w.check()
	}
	w.work()
	w.check()
}

// TestASourceThatStaysDamagedIsGoneAround, rule 31: the records of others are merged, and
// after an hour its own partition's later ones, too.
func TestASourceThatStaysDamagedIsGoneAround(t *testing.T) {
	for name, damage := range map[string]func(w *world, e partlog.Extent){
		"missing": func(w *world, e partlog.Extent) { w.store.DeleteNow(e.Object.Key()) },
		"flipped": func(w *world, e partlog.Extent) {
			b, _ := w.store.GetNow(e.Object.Key())
			b[e.Position+e.Length/2] ^= 1
			w.store.PutNow(e.Object.Key(), b)
		},
		"cut": func(w *world, e partlog.Extent) {
			b, _ := w.store.GetNow(e.Object.Key())
			w.store.PutNow(e.Object.Key(), b[:e.Position+1])
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4, seeded.Seed(t))
			victim := w.keys()[1]
			w.produce(1, 3, 400)
			w.produceTo(3, 400, victim) // no other partition loses records
			lost := w.extents(victim)[1]
			w.produce(1, 3, 400)
			damage(w, lost)
			w.opt.JobBytes *= firstScale // one job reads all
			w.lead()
			w.now = w.now.Add(time.Hour)
			w.work()
			w.expectMerged(t, victim, lost.Base)
			if w.merger.Stats().DamagedSources > 0 || len(w.damage) == 0 {
				t.Errorf("given up at once, or not reported: %v", w.damage)
			}
			for range 20 {
				w.produce(1, 3, 100)
				w.now = w.now.Add(10 * time.Minute)
				w.work()
			}
			left := 0
			for _, e := range w.extents(victim) {
				if e.Object == lost.Object && e.Base == lost.Base && e.Last == lost.Last && e.Position == lost.Position && e.CRC == lost.CRC {
					left++
				} else if e.Object.Kind != segment.KindMerged && e.Base < lost.Last {
					t.Errorf("%v is not merged", e)
				}
			}
			if left != 1 || w.merger.Stats().DamagedSources == 0 {
				t.Errorf("the lost range has %d extents", left)
			}
		})
	}
}

// expectMerged expects that a partition is merged up to an offset and not further, and all
// others whole.
func (w *world) expectMerged(t *testing.T, victim partlog.Key, upTo int64) {
	t.Helper()
	w.state.Survey(func(s *partlog.Survey) {
		want := s.View.End
		if s.Key == victim {
			want = upTo
		}
		if s.Merged != want {
			t.Errorf("%v is merged up to %d, want %d", s.Key, s.Merged, want)
		}
	})
}

// TestDamageThatPassesChangesNothing: one wrong answer proves nothing.
func TestDamageThatPassesChangesNothing(t *testing.T) {
	w := newWorld(t, 4, seeded.Seed(t))
	w.lead()
	w.fault = func(c mem.Call) mem.Action {
		if c.Op != objstore.OpGet && c.Op != objstore.OpGetRange {
			return mem.Action{}
		}
		switch w.rng.IntN(8) {
		case 0:
			return mem.Missing()
		case 1:
			return mem.BitFlipped(w.rng.IntN(1 << 20))
		}
		return mem.Action{}
	}
	for range 100 {
		w.produce(1, 2, 100)
		w.now = w.now.Add(7 * time.Minute)
		_, _ = w.merger.Run(t.Context())
	}
	w.fault = nil
	for range 4 { // the first jobs are small
		w.now = w.now.Add(time.Hour)
		w.work()
	}
	if journal, _ := w.check(); journal > 0 || w.merger.Stats().DamagedSources > 0 {
		t.Errorf("%d extents are in the journal, %d sources were given up", journal, w.merger.Stats().DamagedSources)
	}
}

// TestAFullDiskMakesJobsSmaller: merging succeeds in the room that there is.
func TestAFullDiskMakesJobsSmaller(t *testing.T) {
	w := newWorld(t, 4, seeded.Seed(t))
	for range 20 {
		w.produce(1, 3, 1000)
	}
	w.disk.room = 40 << 10
	w.lead()
	failed := 0
	for range 100 {
		w.now = w.now.Add(time.Hour)
		again, err := w.merger.Run(t.Context())
		if errors.Is(err, ErrDisk) {
			failed++
		} else if err != nil {
			t.Fatal(err)
		}
		if err == nil && !again {
			break
		}
		if w.check(); len(w.state.Intents()) > 0 {
			t.Fatal("an intent is open")
		}
	}
	if journal, _ := w.check(); journal > 0 || failed == 0 || len(w.disk.files) > 0 {
		t.Errorf("%d extents are in the journal after %d failures, %d files are left", journal, failed, len(w.disk.files))
	}
}

// TestEachErrorOfTheDiskIsReportedAsOne: large batches reach the disk before the others are
// gathered.
func TestEachErrorOfTheDiskIsReportedAsOne(t *testing.T) {
	w := newWorld(t, 1, seeded.Seed(t))
	w.produce(1, 5, 900<<10)
	w.lead()
	for w.disk.room = 1 << 20; ; w.disk.room += 1 << 20 {
		w.now = w.now.Add(time.Hour)
		_, err := w.merger.Run(t.Context())
		if journal, _ := w.check(); err == nil && journal == 0 {
			return
		}
		if !errors.Is(err, ErrDisk) || w.disk.room > 100<<20 {
			t.Fatalf("with %d bytes: %v", w.disk.room, err)
		}
	}
}

// TestAnUploadThatLandsLateIsOfAnIDOfItsOwn: nothing that is made again has the same key.
func TestAnUploadThatLandsLateIsOfAnIDOfItsOwn(t *testing.T) {
	w := newWorld(t, 4, seeded.Seed(t))
	w.lead()
	keys := map[string]int{}
	w.fault = func(c mem.Call) mem.Action {
		if c.Op != objstore.OpCreate || !isOutput(c.Key) {
			return mem.Action{}
		}
		keys[c.Key]++
		if w.rng.IntN(2) == 0 {
			return mem.LandLate()
		}
		return mem.Action{}
	}
	for range 40 {
		w.produce(1, 2, 300)
		w.now = w.now.Add(time.Hour)
		_, _ = w.merger.Run(t.Context())
		w.check()
	}
	w.fault = nil
	for len(w.store.Late()) > 0 {
		_ = w.store.Release(0) // stored, or there already
	}
	w.work()
	w.check()
	resent := 0
	for _, n := range keys {
		if n > 1 {
			resent++
		}
	}
	if err := w.store.CheckUnmodified(); err != nil || resent == 0 || len(w.disk.files) > 0 {
		t.Errorf("%d uploads were sent again, %d files are left: %v", resent, len(w.disk.files), err)
	}
}

// TestTenThousandPartitionsTakeFewObjectsAndLittleMemory: one record each in each job.
func TestTenThousandPartitionsTakeFewObjectsAndLittleMemory(t *testing.T) {
	const partitions = 10_000
	w := newWorld(t, partitions, seeded.Seed(t))
	for id, topic := range w.topics {
		topic.Name = strings.Repeat("n", 249-32) + id.String()
		w.topics[id] = topic
	}
	w.opt.Config = Config{DueBytes: 1 << 20}
	w.lead()
	for round := range 2 {
		w.produce(2, 1, 100)
		puts := w.merger.Stats().WrittenObjects
		files := 0
		w.onCarry = func([]segment.Entry) error { files = max(files, len(w.disk.files)); return nil }
		w.work()
		if n := w.merger.Stats().WrittenObjects - puts; n != 1 || files > 1 {
			t.Errorf("round %d: %d objects, %d files at once", round, n, files)
		}
	}
	if journal, merged := w.check(); journal > 0 || merged != 2*partitions {
		t.Errorf("%d extents in the journal, %d merged", journal, merged)
	}
}
