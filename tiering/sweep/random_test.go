package sweep

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// step does one thing that a journal may meet.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(w.r.IntN(40)) * time.Minute)
	switch w.r.IntN(13) {
	case 0, 1, 2:
		var to []int32
		for i := range int32(3) {
			if v, ok := w.state.Lookup(key(i)); ok && !v.Sealed && w.r.IntN(2) == 0 {
				to = append(to, i)
			}
		}
		w.object(segment.KindData, nil, to...)
	case 3, 4, 5:
		if w.job == nil {
			w.begin()
		} else {
			w.end()
		}
	case 6:
		i := w.r.Int32N(3)
		if v, ok := w.state.Lookup(key(i)); ok && !v.Sealed {
			before := v.Start + w.r.Int64N(v.End-v.Start+1)
			w.spare(i, v.Start, before)
			w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(i), Before: before}.Encode()})
		}
	case 7:
		if w.r.IntN(4) == 0 {
			w.clear = clocks.ErrWrong
		}
		carries := w.carries
		if w.run(w.releaser.Run); w.clear != nil && w.carries > carries {
			w.t.Fatal("a release has the time of a clock that is not trusted")
		}
		w.clear = nil
	case 8:
		w.fault = func(c mem.Call) mem.Action { // some are not deleted, and of some that is not known
			if c.Op == objstore.OpDelete && w.r.IntN(8) == 0 {
				return [...]mem.Action{mem.FailBefore(errFault), mem.ReplyLost()}[w.r.IntN(2)]
			}
			return mem.Action{}
		}
		_, _ = w.deleter.Run(context.Background())
		w.fault = nil
	case 9:
		w.floor = max(w.floor, w.r.Uint64N(w.seq+1))
	case 10:
		switch w.r.IntN(4) {
		case 0:
			w.restart()
		case 1:
			w.fence()
		case 2:
			w.void()
		}
	case 11:
		if w.lose = nil; w.r.IntN(2) == 0 {
			w.lose = &partlog.Key{Topic: testTopic, Index: w.r.Int32N(3)}
		}
	case 12:
		i := w.r.Int32N(3)
		if v, ok := w.state.Lookup(key(i)); ok && !v.Dropped && w.r.IntN(4) == 0 {
			var e []segment.Entry
			if !v.Sealed {
				e = append(e, partlog.Seal{Key: key(i)}.Encode())
			}
			w.object(segment.KindData, append(e, partlog.Drop{Key: key(i)}.Encode()))
			for k := range w.until { // of its own segments, the grace is over
				if n, ok := segment.ParseMergedKey(k); ok && n.Partition == i {
					delete(w.until, k)
				}
			}
		}
	}
}

// spare notes the objects whose records are deleted, and until when they must stay. Those
// of which a part stays may be merged and replaced sooner.
func (w *world) spare(i int32, from, to int64) {
	for offset := from; offset < to; {
		extents := w.find(i, offset)
		for j := range extents {
			x := &extents[j]
			if offset = x.Last + 1; x.Base < to && x.Object.Kind == segment.KindData || offset <= to && x.Object.Own() {
				w.until[x.Object.Key()] = w.now.Add(w.opt.UserGrace)
			}
		}
	}
}

// drain lets a new leader tidy up. It holds that the leader comes to rest then, and that
// nothing is left over but objects of the leader's own entries.
func (w *world) drain() {
	w.fence()
	w.lose = nil
	carries := 0
	for i := range 10 {
		if i == 7 {
			carries = w.carries
		}
		w.floor = w.seq
		w.now = w.now.Add(2 * time.Hour)
		for again := true; again; {
			var err error
			if again, err = w.releaser.Run(context.Background()); err != nil {
				w.t.Fatal(err)
			}
		}
		w.run(w.deleter.Run)
	}
	w.check()
	if w.carries > carries {
		w.t.Fatalf("%d objects were written for entries alone in an idle journal", w.carries-carries)
	}
	keep := map[string]bool{}
	for _, n := range w.named() {
		keep[n.Key()] = true
	}
	judged, _ := w.state.Judged()
	for _, i := range w.store.ListNow("") {
		_, journal := segment.ParseJournalKey(1, i.Key)
		_, merged := segment.ParseMergedKey(i.Key)
		if seq, _ := segment.ParseJournalKey(1, i.Key); journal && (seq >= w.lowest() || seq >= judged.Seq && w.empty[i.Key]) || keep[i.Key] || w.stays[i.Key] || !journal && !merged {
			continue
		}
		w.t.Fatalf("%s is left over", i.Key)
	}
}

// lowest is the seq from which on journal objects may stay: extents above merged name it,
// or it is not below the floor.
func (w *world) lowest() uint64 {
	lowest := w.floor
	w.state.Survey(func(s *partlog.Survey) {
		if s.First != nil {
			lowest = min(lowest, s.First.Object.Seq)
		}
		if s.FirstPage != nil {
			x, _ := w.page(context.Background(), s.FirstPage)
			lowest = min(lowest, x.From(max(s.Merged, s.View.Start), 1)[0].Object.Seq)
		}
	})
	return lowest
}

func TestSweepDeletesAllThatIsFreeAndNothingElse(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: func(t *seeded.T, _ struct{}) {
		w := newWorld(t, t.Rand)
		w.opt.MergeGrace, w.opt.UserGrace = time.Duration(w.r.IntN(2))*time.Hour, time.Duration(w.r.IntN(2))*5*time.Hour
		w.lead()
		t.Steps(120, func(r *rand.Rand) {
			w.r = r
			w.step()
			w.check()
		})
		w.drain()
	}, Must: []string{
		"objects released", "partitions freed", "seqs released", "pages freed", "loose seq released", "judged by reading", "second deletion", "seqs deleted",
	}}, 300, 60)
}
