package sweep

import (
	"context"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// TestSeqsWithoutRecordsWaitForOthers: the object of a Release has no records, and is no
// reason for the next Release.
func TestSeqsWithoutRecordsWaitForOthers(t *testing.T) {
	run := func(first, last, records uint64) partlog.Run {
		return partlog.Run{Seqs: partlog.Seqs{First: first, Last: last}, Epoch: 1, Records: records}
	}
	for name, c := range map[string]struct {
		v    view
		want int // seqs that are released
	}{
		"entries alone":          {view{runs: partlog.Runs{run(10, 12, 0), run(14, 15, 0)}}, 0},
		"records judged before":  {view{runs: partlog.Runs{run(5, 15, 9)}}, 0},
		"records":                {view{runs: partlog.Runs{run(10, 12, 11), run(14, 15, 0)}}, 5},
		"records above in use":   {view{runs: partlog.Runs{run(10, 12, 0), run(14, 15, 14)}, lowest: 14}, 0},
		"many entries":           {view{runs: partlog.Runs{run(10, 9+maxIdle, 0)}}, maxIdle},
		"one less":               {view{runs: partlog.Runs{run(10, 8+maxIdle, 0)}}, 0},
		"an object to release":   {view{runs: partlog.Runs{run(10, 12, 0)}, unreleased: []partlog.Unreleased{{Name: segment.SharedSegment(1, segment.ID{1})}}}, 3},
		"damage that was passed": {view{runs: partlog.Runs{run(10, 12, 0)}, kept: map[uint64]bool{4: false}}, 4},
	} {
		v := c.v
		v.judged = partlog.Judged{Seq: 10, Epoch: 1}
		if v.lowest == 0 {
			v.lowest = unknown
		}
		releases, more := v.plan()
		n := 0
		for _, r := range releases {
			for _, q := range r.Seqs {
				n += int(q.Last - q.First + 1)
			}
		}
		if n != c.want || c.want == 0 && (len(releases) > 0 || more) {
			t.Errorf("%s: %d seqs in %d releases, want %d; more %t", name, n, len(releases), c.want, more)
		}
	}
}

// TestAnIdleJournalComesToRest: each restart writes a fence, and nothing else.
func TestAnIdleJournalComesToRest(t *testing.T) {
	w, _ := mergedWorld(t)
	rounds := func(n int) (carries int) {
		before := w.carries
		for range n {
			w.floor, w.now = w.seq, w.now.Add(2*time.Hour)
			w.run(w.releaser.Run)
			w.run(w.deleter.Run)
		}
		return w.carries - before
	}
	rounds(4)
	if n := rounds(20); n > 0 {
		t.Errorf("%d objects were written for entries", n)
	}
	w.state = restored(t, w)
	w.fence()
	w.lead()
	if n := rounds(20); n > 0 {
		t.Errorf("%d objects were written for entries after a restart", n)
	}
	w.object(segment.KindData, nil, 0)
	v, _ := w.state.Lookup(key(0))
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(0), Before: v.End}.Encode()})
	if n := rounds(4); n == 0 {
		t.Error("nothing is released any more")
	}
	if n := rounds(20); n > 0 {
		t.Errorf("%d objects were written for entries after records", n)
	}
}

// TestAnIdleJournalIsLookedAtLessOften: its floor cannot move.
func TestAnIdleJournalIsLookedAtLessOften(t *testing.T) {
	w, _ := mergedWorld(t)
	looks := 0
	floor := w.opt.Floor
	w.opt.Every = time.Minute
	w.opt.Floor = func(ctx context.Context) (uint64, error) { looks++; return floor(ctx) }
	w.lead()
	w.run(w.releaser.Run)
	w.now = w.now.Add(3 * time.Hour) // the replaced segment is deleted twice by then
	for range 24 * 60 {
		w.now = w.now.Add(time.Minute)
		w.run(w.deleter.Run)
	}
	if looks > 24*60/rarest+12 {
		t.Errorf("%d looks at the floor in a day", looks)
	}
	w.object(segment.KindData, nil, 0)
	w.floor = w.seq
	w.now = w.now.Add(time.Minute)
	if w.run(w.deleter.Run); w.has(segment.JournalKey(1, 3)) {
		t.Error("the floor has moved, and nothing is deleted")
	}
}
