package expire

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func ago(w *world, d time.Duration) int64 { return w.now.Add(-d).UnixMilli() }

func TestRecordsExpireByWholeExtents(t *testing.T) {
	w := newWorld(t)
	for d := 4; d >= 0; d-- {
		w.write(ago(w, time.Duration(d)*24*time.Hour))
	}
	x := New(w.opt)
	w.look(x, 0) // -1 keeps forever
	if w.policy.RetentionMs = 2 * day; w.rounds != 0 {
		t.Errorf("%d rounds where nothing can be due", w.rounds)
	}
	w.look(x, 30)
	if w.look(x, 30); w.rounds != 1 || len(w.carried) != 1 {
		t.Errorf("%d rounds, carried %d entries", w.rounds, len(w.carried))
	}
	w.policy.RetentionMs = 0
	w.look(x, 50) // the newest extent may go
	if times, offsets := x.Moved(); times != 2 || offsets != 50 {
		t.Errorf("moved %d times by %d offsets", times, offsets)
	}
	w.write(ago(w, 0))
	w.look(x, 60)
}

func TestAnExtentIsNotYoungerThanItsSource(t *testing.T) {
	w := newWorld(t)
	year := ago(w, -365*24*time.Hour)
	w.write(year) // from the future
	w.write(-1)
	w.write(ago(w, 5*24*time.Hour))
	w.policy.RetentionMs = 2 * day
	x := New(w.opt)
	w.look(x, 0) // nothing says when it was written
	w.merge(func(i int) (int64, int64) {
		return []int64{year, -1, ago(w, 5*24*time.Hour)}[i], ago(w, 3*24*time.Hour)
	})
	w.look(x, 30)
}

func TestAnExtentWithoutAnyTimeIsKept(t *testing.T) {
	w := newWorld(t)
	w.write(-1)
	w.write(ago(w, 5*24*time.Hour))
	w.policy.RetentionMs = 2 * day
	w.look(New(w.opt), 0)
}

func TestBytesAreThoseFromTheStartOn(t *testing.T) {
	w := newWorld(t)
	x := New(w.opt)
	for range 10 {
		w.write(-1)
	}
	w.policy.RetentionBytes = 350
	w.look(x, 60) // at least so much stays, as in Kafka
	w.merge(func(int) (int64, int64) { return -1, 5 })
	w.look(x, 60)
	for range 3 {
		w.write(-1)
	}
	w.look(x, 90)
	w.policy.RetentionBytes = 0
	w.look(x, 130)
}

// TestPagesAreReadOnlyWhenSomethingMayBeDue also compares pages with memory.
func TestPagesAreReadOnlyWhenSomethingMayBeDue(t *testing.T) {
	w := newWorld(t)
	for range 100 { // of which 36 may lie in pages
		w.write(-1)
	}
	at := func(i int) int64 { return ago(w, time.Duration(100-i)*time.Hour) }
	times := make([]int64, 100)
	for i := range times {
		times[i] = at(i)
	}
	w.merge(func(i int) (int64, int64) { return -1, times[i] })
	w.pageAll()
	if len(w.pages) == 0 {
		t.Fatal("nothing is paged")
	}
	x := New(w.opt)
	w.policy.RetentionMs = 100*3_600_000 - 60_000
	w.look(x, 10)
	reads := w.reads
	for range 30 {
		w.look(x, 10)
	}
	if w.reads > reads+2 {
		t.Errorf("%d reads of pages in 30 looks with nothing due", w.reads-reads)
	}
	w.now = w.now.Add(10 * time.Hour)
	w.look(x, 110)
	w.policy = Policy{-1, 8000}
	w.look(x, 200)
	w.policy = Policy{-1, 7950}
	w.look(x, 200)
	w.policy = Policy{-1, 5000}
	w.look(x, 500)
}

// TestPagesOfTheJournalAreNotRead: a journal of which much is not merged yet has many, and a
// look must not hold up the merging.
func TestPagesOfTheJournalAreNotRead(t *testing.T) {
	w := newWorld(t)
	const extents = 1000
	for i := range extents {
		w.write(w.now.UnixMilli() - int64(extents-i)*1000)
	}
	w.pageAll()
	if len(w.pages) == 0 {
		t.Fatal("nothing is paged")
	}
	x := New(w.opt)
	w.policy = Policy{-1, extents / 2 * 100} // pages do not say their bytes
	w.look(x, 0)
	w.policy = Policy{520 * 1000, -1} // in two minutes 600 extents are older: two pages, and a part of one
	w.look(x, 5120)
	if w.reads > 0 {
		t.Errorf("%d reads of pages", w.reads)
	}
	w.policy = Policy{-1, extents / 10 * 100}
	w.merge(func(i int) (int64, int64) { return w.now.UnixMilli(), w.now.UnixMilli() })
	w.look(x, 9000)
}

// TestBytesOfPagesThatAreDueDoNotCount: the pages go by time, and are no reason for others to
// go by bytes.
func TestBytesOfPagesThatAreDueDoNotCount(t *testing.T) {
	w := newWorld(t)
	for range 300 {
		w.write(w.now.UnixMilli() - 2*day)
	}
	w.pageAll()
	for range 5 {
		w.write(w.now.UnixMilli())
	}
	w.policy = Policy{RetentionMs: day, RetentionBytes: 500}
	w.look(New(w.opt), 3000)
}

// TestPagesOfWhichExtentsWereReplacedCountAsTheyAre: a compaction has written some extents
// again.
func TestPagesOfWhichExtentsWereReplacedCountAsTheyAre(t *testing.T) {
	for _, bytes := range []int64{9000, 7950, 5000, 3000, 100} {
		w := newWorld(t)
		for range 200 { // of which 136 lie in pages
			w.write(-1)
		}
		w.merge(func(int) (int64, int64) { return -1, 5 })
		w.pageAll()
		x := New(w.opt)
		w.policy = Policy{-1, 20_000}
		w.look(x, 0)
		for _, from := range []int64{50, 700, 300, 310, 0} {
			w.again(from)
		}
		w.look(x, 0)
		w.policy.RetentionBytes = bytes
		w.look(x, (20_000-bytes)/100*10)
		reads := w.reads
		for range 5 {
			w.look(x, (20_000-bytes)/100*10)
		}
		if w.reads > reads+1 {
			t.Errorf("%d bytes: %d reads of pages in 5 looks with nothing due", bytes, w.reads-reads)
		}
	}
}

// TestNothingExpiresThatShouldNot has the attacks by clocks and by a view that lags.
func TestNothingExpiresThatShouldNot(t *testing.T) {
	for name, attack := range map[string]func(*world){
		"kept forever before the view knows": func(w *world) { w.onRound = func() { w.policy = Policy{-1, -1} } },
		"kept forever while the entry waits": func(w *world) { w.onCarry = func() { w.policy = Policy{-1, -1} } },
		"deleted while the entry waits":      func(w *world) { w.onCarry = func() { w.deleted = true } },
		"deleted before the view knows":      func(w *world) { w.onRound = func() { w.deleted = true } },
		"clock a year ahead": func(w *world) {
			w.now = w.now.Add(365 * 24 * time.Hour)
			w.clock = fmt.Errorf("%w: by a year", clocks.ErrWrong)
		},
		"clock that jumps back before the round": func(w *world) {
			w.onRound = func() { w.now = w.now.Add(-365 * 24 * time.Hour) }
		},
		"clock a year behind":         func(w *world) { w.now = w.now.Add(-365 * 24 * time.Hour) },
		"clock that is not confirmed": func(w *world) { w.clock = clocks.ErrTooEarly },
		"upgraded a moment ago":       func(w *world) { w.opt.Begins = func() time.Time { return w.now.Add(time.Hour) } },
		"upgraded, as the view then says": func(w *world) {
			begins := time.Time{}
			w.opt.Begins = func() time.Time { return begins }
			w.onRound = func() { begins = w.now.Add(time.Hour) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policy.RetentionMs = 7 * day
			w.write(ago(w, 8*24*time.Hour))
			attack(w)
			if w.look(New(w.opt), 0); len(w.carried) > 0 {
				t.Errorf("carried %v", w.carried)
			}
		})
	}
}

func TestRecordsExpireOnceTheClocksAgree(t *testing.T) {
	w := newWorld(t)
	w.policy.RetentionMs = 7 * day
	w.write(ago(w, 8*24*time.Hour))
	w.clock = clocks.ErrWrong
	x := New(w.opt)
	w.look(x, 0)
	w.clock = nil
	w.look(x, 10)
	if w.rounds != 2 {
		t.Errorf("%d rounds", w.rounds)
	}
}

func TestFailuresAreReturned(t *testing.T) {
	w := newWorld(t)
	w.policy.RetentionMs = 0
	w.write(1)
	w.clock = errors.New("the store does not answer")
	if again, err := New(w.opt).Run(t.Context()); again || !errors.Is(err, w.clock) {
		t.Errorf("%v, %v", again, err)
	}
}

// TestALostPageHoldsItsPartitionBack: records of other partitions expire, and its own do once
// the page is restored.
func TestALostPageHoldsItsPartitionBack(t *testing.T) {
	other := partlog.Key{Topic: testTopic, Index: 1}
	errDown := errors.New("the store does not answer")
	for _, policy := range []Policy{{20 * 3_600_000, -1}, {-1, 5000}, {20 * 3_600_000, 5000}} {
		for _, loss := range []error{objstore.ErrNotFound, objstore.ErrRange, segment.ErrCorrupt, errDown} {
			w := newWorld(t)
			for range 200 {
				w.write(-1)
			}
			times := make([]int64, 200)
			for i := range times {
				times[i] = ago(w, time.Duration(220-i)*time.Hour/10)
			}
			w.merge(func(i int) (int64, int64) { return -1, times[i] })
			w.pageAll()
			w.again(300) // so that the bytes of pages have to be read
			w.object([]segment.Entry{partlog.Open{Key: other}.Encode()})
			for i := range 2 {
				base := int64(10 * i)
				w.object(nil, segment.Partition{Topic: testTopic, Index: 1, LeaderEpoch: 1, Position: 100, Length: 9000, CRC: 1, BaseOffset: base, LastOffset: base + 9, Records: 10, Batches: 1, MaxTimestamp: 1})
			}
			x := New(w.opt)
			w.policy, w.loss = policy, fmt.Errorf("read a page: %w", loss)
			w.now = w.now.Add(time.Minute)
			_, err := x.Run(t.Context())
			v, _ := w.state.Lookup(other)
			if down := loss == errDown; errors.Is(err, errDown) != down || !down && (err != nil || v.Start == 0) || w.start() != 0 {
				t.Errorf("%+v, %v: error %v, the partition starts at %d, the other at %d", policy, loss, err, w.start(), v.Start)
			}
			w.loss, w.now = nil, w.now.Add(time.Minute)
			if _, err := x.Run(t.Context()); err != nil || w.start() == 0 {
				t.Errorf("%+v, %v: after the page is restored: error %v, the partition starts at %d", policy, loss, err, w.start())
			}
		}
	}
}

func TestALookComesOnceAMinute(t *testing.T) {
	w := newWorld(t)
	w.policy.RetentionMs = 0
	x := New(w.opt)
	run := func(want int64) {
		t.Helper()
		if _, err := x.Run(t.Context()); err != nil || w.start() != want {
			t.Errorf("starts at %d, want %d: %v", w.start(), want, err)
		}
	}
	run(0)
	w.write(1)
	w.now = w.now.Add(59 * time.Second)
	run(0)
	w.now = w.now.Add(time.Second)
	run(10)
	w.write(1)
	w.now = w.now.Add(-time.Hour) // the clock was set back
	run(20)
}

// TestALookDoesNotWaitForAnIdleJournal has entries that wait for long: the next look adds its
// own, the first object takes all, and each start counts once.
func TestALookDoesNotWaitForAnIdleJournal(t *testing.T) {
	w := newWorld(t)
	w.policy.RetentionMs = 0
	var waiting []segment.Entry
	w.opt.Carry = func(ctx context.Context, entries []segment.Entry, _ func(segment.Entry) bool) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Fatal("waits for as long as the journal does")
		}
		waiting = append(waiting, entries...)
		return context.DeadlineExceeded
	}
	x := New(w.opt)
	for range 3 {
		w.write(1)
		if again, err := x.Run(t.Context()); again || err != nil {
			t.Errorf("%v, %v", again, err)
		}
		w.now = w.now.Add(time.Minute)
	}
	if len(waiting) != 3 || w.start() != 0 {
		t.Fatalf("%d entries wait, the log starts at %d", len(waiting), w.start())
	}
	w.object(waiting)
	if _, err := x.Run(t.Context()); err != nil || w.start() != 30 || len(waiting) != 3 {
		t.Errorf("the log starts at %d, %d entries: %v", w.start(), len(waiting), err)
	}
	if times, offsets := x.Moved(); times != 1 || offsets != 30 {
		t.Errorf("moved %d times by %d offsets", times, offsets)
	}
	w.write(1)
	w.now, x.asked = w.now.Add(time.Minute), maxAsked
	x.opt.Carry = func(ctx context.Context, entries []segment.Entry, _ func(segment.Entry) bool) error {
		if _, limited := ctx.Deadline(); limited {
			t.Error("more and more entries wait")
		}
		w.object(entries)
		return nil
	}
	if _, err := x.Run(t.Context()); err != nil || x.asked != 0 {
		t.Errorf("%d entries wait, %v", x.asked, err)
	}
}

func TestPartitionsOfTopicsThatAreGoneAreDropped(t *testing.T) {
	for name, c := range map[string]struct {
		sealed bool
		change func(*world)
		want   bool
	}{
		"gone":       {true, func(w *world) { w.deleted = true }, true},
		"there":      {true, func(*world) {}, false},
		"not sealed": {false, func(w *world) { w.deleted = true }, false},
		"there, as the view then says": {true, func(w *world) {
			w.deleted = true
			w.onRound = func() { w.deleted = false }
		}, false},
		"clocks apart":  {true, func(w *world) { w.deleted, w.clock = true, clocks.ErrWrong }, false},
		"just upgraded": {true, func(w *world) { w.deleted, w.opt.Begins = true, func() time.Time { return w.now.Add(time.Hour) } }, false},
	} {
		w := newWorld(t)
		w.write(1)
		if c.sealed {
			w.object([]segment.Entry{partlog.Seal{Key: testKey}.Encode()})
		}
		c.change(w)
		x := NewDropper(w.opt)
		if again, err := x.Run(t.Context()); again || err != nil {
			t.Errorf("%s: %v, %v", name, again, err)
		}
		v, ok := w.state.Lookup(testKey)
		if dropped := v.Dropped || !ok; dropped != c.want || (x.Dropped() == 1) != c.want {
			t.Errorf("%s: %+v, %v; dropped %d", name, v, ok, x.Dropped())
		}
		rounds := w.rounds
		if _, err := x.Run(t.Context()); err != nil || w.rounds != rounds {
			t.Errorf("%s: looks again at once: %v", name, err)
		}
	}
}
