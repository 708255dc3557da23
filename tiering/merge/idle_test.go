package merge

import (
	"context"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// idleWorld is a journal with forty jobs' worth that waits. Each entry that is carried waits
// for ten minutes.
func idleWorld(t *testing.T) (w *world, carried *int) {
	w = newWorld(t, 8, seeded.Seed(t))
	for bytes := int64(0); bytes < 40*w.opt.JobBytes; {
		w.produce(1, 2, 200)
		b, err := w.store.Get(t.Context(), segment.JournalKey(1, w.seq))
		if err != nil {
			t.Fatal(err)
		}
		bytes += int64(len(b))
	}
	w.opt.Room = func() int64 { return 1 << 40 }
	carried = new(int)
	w.carries(carried)
	w.lead()
	return w, carried
}

func (w *world) carries(n *int) {
	apply := w.opt.Carry
	w.opt.Carry = func(ctx context.Context, entries []segment.Entry) error {
		*n++
		w.now = w.now.Add(10 * time.Minute)
		return apply(ctx, entries)
	}
}

// TestAnIdleJournalIsMergedInFewJobs: its entries may take six objects an hour. 40 jobs of
// the default size are 10 GiB.
func TestAnIdleJournalIsMergedInFewJobs(t *testing.T) {
	w, carried := idleWorld(t)
	began := w.now
	for w.merger.plan(); w.merger.Debt().Bytes > 0; w.merger.plan() {
		if _, err := w.merger.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := w.now.Sub(began); took > time.Hour || *carried > 6 {
		t.Errorf("merged after %v, with %d objects", took, *carried)
	}
	w.work() // joins
	for range 10 {
		*carried = 0
		w.now = w.now.Add(24 * time.Hour)
		w.work()
	}
	if *carried > 0 {
		t.Errorf("%d objects in a day, although nothing has come for long", *carried)
	}
	w.check()
}

// TestJobsOfABusyJournalAreSmall: once something is written while one reads. So is one after
// a failure, and one on a disk with little room.
func TestJobsOfABusyJournalAreSmall(t *testing.T) {
	most := func(w *world, jobs int) (bytes int64) {
		for range jobs {
			before := w.merger.Stats().ReadBytes
			if _, err := w.merger.executor.Run(t.Context(), w.level1(t)); err != nil {
				t.Fatal(err)
			}
			bytes = max(bytes, w.merger.Stats().ReadBytes-before)
		}
		return bytes
	}
	w, _ := idleWorld(t)
	whole := w.opt.JobBytes
	loads := 0
	w.opt.Pace = func(context.Context, int64) error {
		if loads++; loads == 1 {
			w.object(segment.KindData, nil, nil)
		}
		return nil
	}
	w.lead()
	if n := most(w, 1); n > 3*whole { // with the read-back, and the objects that were read ahead
		t.Errorf("a job read %d bytes, of usual ones of %d, although the journal is busy", n, whole)
	}
	w.opt.Pace, w.opt.Room = nil, func() int64 { return 2 * roomPart * whole }
	w.lead()
	if n := most(w, 1); n < 2*whole || n > 5*whole {
		t.Errorf("a job read %d bytes, of usual ones of %d, with room for two", n, whole)
	}
	w.opt.Room = func() int64 { return 1 << 40 }
	w.lead()
	w.merger.executor.failed = true
	if n := most(w, 1); n > 3*whole {
		t.Errorf("a job after a failure read %d bytes, usual ones %d", n, whole)
	}
}

// level1 is the next job, of the journal.
func (w *world) level1(t *testing.T) *Job {
	for {
		switch j := w.merger.plan(); {
		case j == nil:
			t.Fatal("nothing is left to merge")
		case j.Level == 1:
			return j
		}
	}
}

// TestSharedObjectsAreSmallWhileClientsWrite: flushes would wait behind larger ones.
func TestSharedObjectsAreSmallWhileClientsWrite(t *testing.T) {
	for name, c := range map[string]struct {
		level   int
		hurries bool
		head    uint64
		most    int64
		want    int64
	}{
		"written":                {level: 1, head: 8, most: 120 * mib, want: calmBytes},
		"written, small objects": {level: 1, head: 8, most: mib, want: mib},
		"idle":                   {level: 1, head: 7, most: 120 * mib, want: 120 * mib},
		"in a hurry":             {level: 1, hurries: true, head: 8, most: 120 * mib, want: 120 * mib},
		"joined":                 {level: 2, head: 8, most: 120 * mib, want: 120 * mib},
	} {
		x := &Executor{cfg: Config{ObjectBytes: c.most}, opt: Options{Hurry: func() bool { return c.hurries }}}
		g := &gatherer{x: x, job: &Job{Level: c.level}, bounds: bounds{began: 7, head: func() uint64 { return c.head }}}
		if got := g.sharedBytes(); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}

func TestSharedAndOwnObjectsHaveBoundsOfTheirOwn(t *testing.T) {
	part := func(index int32, chunks int) *gathered {
		p := &gathered{Key: partlog.Key{Index: index}}
		for i := range chunks {
			p.chunks, p.bytes = append(p.chunks, chunk{covers: int64(i + 1), length: 10}), p.bytes+10
		}
		return p
	}
	var shared, own int
	for _, o := range arrange([]*gathered{part(0, 2), part(1, 2), part(2, 10), part(3, 2)}, 100, 30, 50) {
		if o.own {
			own++
		} else {
			shared++
		}
	}
	if shared != 3 || own != 2 {
		t.Errorf("%d shared and %d own objects, want 3 and 2", shared, own)
	}
}
