package sweep

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// gracedWorld has records of all partitions in the objects from seq 3 to 5.
func gracedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	w.opt.MergeGrace, w.opt.UserGrace = MergeGrace, UserGrace
	w.lead()
	for i := range int32(3) {
		w.object(segment.KindData, nil, i)
	}
	return w
}

// after runs the steps, and then again at a time after that.
func (w *world) after(d time.Duration) {
	w.t.Helper()
	w.run(w.releaser.Run)
	w.floor, w.now = w.seq, w.now.Add(d)
	w.run(w.deleter.Run)
}

func (w *world) deleteRecords(i int32) {
	v, _ := w.state.Lookup(key(i))
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(i), Before: v.End}.Encode()})
}

// mergeAll merges the records of a partition that are not merged, into one segment.
func (w *world) mergeAll(i int32, shared bool) segment.Name {
	p, _ := w.state.SurveyOf(key(i))
	from, id := max(p.Merged, p.View.Start), w.id()
	n := segment.OwnSegment(testTopic, i, from, w.id())
	if shared {
		n = segment.SharedSegment(1, w.id())
	}
	w.object(segment.KindData, []segment.Entry{partlog.Intent{Job: id, Objects: []segment.Name{n}}.Encode()})
	w.object(segment.KindData, []segment.Entry{(&partlog.Result{Job: id, Last: true, Parts: []partlog.ResultPart{
		{Key: key(i), From: from, To: p.View.End, Extents: []partlog.Extent{w.extent(n, from, p.View.End-1)}}}}).Encode()})
	return n
}

// TestRecordsThatWereDeletedBeforeAMergeStayForLonger: they are nowhere but in the objects
// of the journal.
func TestRecordsThatWereDeletedBeforeAMergeStayForLonger(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := gracedWorld(t)
		w.mergeAll(0, false)
		w.mergeAll(2, false) // the state has an entry of tiering
		w.deleteRecords(1)
		if restart {
			w.state = restored(t, w)
			w.fence()
			w.lead()
		}
		deleted := segment.JournalKey(1, 4)
		w.object(segment.KindData, nil, 0)
		later := segment.JournalKey(1, w.seq)
		w.mergeAll(0, false)
		w.after(UserGrace - time.Second)
		if !w.has(deleted) || w.has(later) {
			t.Errorf("restart %t: records that were deleted are there: %t; merged ones: %t", restart, w.has(deleted), w.has(later))
		}
		if w.after(time.Second); w.has(deleted) {
			t.Errorf("restart %t: not deleted after the grace", restart)
		}
	}
}

// TestADroppedPartitionHasHadItsGrace: it was dropped after the time in which its topic could
// be restored. Shared segments may have records that were deleted a moment ago.
func TestADroppedPartitionHasHadItsGrace(t *testing.T) {
	w := gracedWorld(t)
	own, shared := w.mergeAll(0, false), w.mergeAll(1, true)
	w.object(segment.KindData, []segment.Entry{partlog.Seal{Key: key(0)}.Encode(), partlog.Seal{Key: key(1)}.Encode(), partlog.Seal{Key: key(2)}.Encode()})
	w.after(UserGrace)
	if !w.has(own.Key()) || !w.has(shared.Key()) || !w.has(segment.JournalKey(1, 5)) {
		t.Fatal("a seal frees objects")
	}
	w.object(segment.KindData, []segment.Entry{partlog.Drop{Key: key(0)}.Encode(), partlog.Drop{Key: key(1)}.Encode(), partlog.Drop{Key: key(2)}.Encode()})
	w.now = w.now.Add(time.Minute)
	w.after(MergeGrace - time.Second)
	if !w.has(own.Key()) || !w.has(segment.JournalKey(1, 5)) {
		t.Error("deleted within the grace")
	}
	if w.after(time.Second); w.has(own.Key()) || w.has(segment.JournalKey(1, 5)) || !w.has(shared.Key()) {
		t.Errorf("after the short grace: own segment %t, object of the journal %t, shared segment %t", w.has(own.Key()), w.has(segment.JournalKey(1, 5)), w.has(shared.Key()))
	}
	if w.after(UserGrace - MergeGrace); w.has(shared.Key()) {
		t.Error("the shared segment is not deleted")
	}
}

// TestALostPageHoldsItsPartitionBack: it is not known which objects the page names. Others
// are free.
func TestALostPageHoldsItsPartitionBack(t *testing.T) {
	for _, tc := range []struct {
		name   string
		merged bool
		loss   error
	}{
		{"missing, of merged extents", true, objstore.ErrNotFound},
		{"cut short, of merged extents", true, objstore.ErrRange},
		{"damaged, of merged extents", true, segment.ErrCorrupt},
		{"missing, of the journal", false, objstore.ErrNotFound},
	} {
		name, merged, w := tc.name, tc.merged, gracedWorld(t)
		w.loss = tc.loss
		w.mergeAll(0, false)
		other, journal := w.mergeAll(2, false).Key(), segment.JournalKey(1, 3)
		held := journal // the page may name an object below it
		if merged {
			held = w.mergeAll(1, false).Key()
			w.object(segment.KindData, nil, 1)
			w.mergeAll(1, false)
		}
		w.restart()
		w.lose = &partlog.Key{Topic: testTopic, Index: 1}
		w.deleteRecords(2)
		if merged {
			w.deleteRecords(1)
		}
		w.after(UserGrace)
		w.after(UserGrace)
		if !w.has(held) || w.has(other) || w.has(journal) == merged {
			t.Errorf("%s: held %t, another partition's %t, journal %t", name, w.has(held), w.has(other), w.has(journal))
		}
		if len(w.lost) != 1 || w.lost[0].Key != *w.lose || w.lostErr == nil {
			t.Errorf("%s: reported %v: %v", name, w.lost, w.lostErr)
		}
		w.lose = nil
		w.after(UserGrace)
		if w.has(held) || len(w.lost) != 2 || w.lostErr != nil || w.lost[1] != w.lost[0] {
			t.Errorf("%s: held %t after the page is there again; reported %v: %v", name, w.has(held), w.lost, w.lostErr)
		}
	}
}
