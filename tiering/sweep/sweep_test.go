package sweep

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// mergedWorld has the records of partition 0 in two journal objects, which are merged, and
// an object that a second merge has replaced.
func mergedWorld(t *testing.T) (w *world, replaced segment.Name) {
	t.Helper()
	w = newWorld(t, rand.New(rand.NewPCG(1, 2)))
	w.opt.MergeGrace, w.opt.UserGrace = MergeGrace, UserGrace
	w.lead()
	w.object(segment.KindData, nil, 0)
	w.object(segment.KindData, nil, 0)
	v, _ := w.state.Lookup(key(0))
	replaced = segment.OwnSegment(testTopic, 0, 0, w.id())
	w.merge(replaced, nil, v.End)
	w.merge(segment.OwnSegment(testTopic, 0, 0, w.id()), []partlog.Extent{w.extent(replaced, 0, v.End-1)}, v.End)
	return w, replaced
}

// merge puts a segment in place of the first offsets of partition 0.
func (w *world) merge(n segment.Name, replaced []partlog.Extent, to int64) {
	id := w.id()
	w.object(segment.KindData, []segment.Entry{partlog.Intent{Job: id, Objects: []segment.Name{n}}.Encode()})
	w.object(segment.KindData, []segment.Entry{(&partlog.Result{Job: id, Last: true, Parts: []partlog.ResultPart{
		{Key: key(0), To: to, Replaced: replaced, Extents: []partlog.Extent{w.extent(n, 0, to-1)}}}}).Encode()})
}

func (w *world) has(key string) bool {
	_, ok := w.store.GetNow(key)
	return ok
}

func TestNothingIsDeletedBeforeItsGrace(t *testing.T) {
	w, replaced := mergedWorld(t)
	w.run(w.releaser.Run)
	w.floor = w.seq
	first := segment.JournalKey(1, 3)
	w.now = w.now.Add(MergeGrace - time.Second)
	w.run(w.deleter.Run)
	if !w.has(replaced.Key()) || !w.has(first) {
		t.Fatal("deleted within the grace")
	}
	w.now = w.now.Add(time.Second)
	w.run(w.deleter.Run)
	if w.has(replaced.Key()) || w.has(first) {
		t.Fatal("not deleted after the grace")
	}
}

func TestRecordsThatUsersDeletedStayForLonger(t *testing.T) {
	w, _ := mergedWorld(t)
	v, _ := w.state.Lookup(key(0))
	extents, _, _, _ := w.state.Find(key(0), 0, 1)
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(0), Before: v.End}.Encode()})
	w.run(w.releaser.Run)
	w.now = w.now.Add(UserGrace - time.Second)
	w.run(w.deleter.Run)
	if !w.has(extents[0].Object.Key()) {
		t.Fatal("deleted within the grace")
	}
	w.now = w.now.Add(time.Second)
	w.run(w.deleter.Run)
	if w.has(extents[0].Object.Key()) {
		t.Fatal("not deleted after the grace")
	}
}

func TestAnObjectThatLandsLateIsDeletedAgain(t *testing.T) {
	w, replaced := mergedWorld(t)
	w.run(w.releaser.Run)
	w.now = w.now.Add(MergeGrace)
	w.run(w.deleter.Run)
	w.store.PutNow(replaced.Key(), []byte("late"))
	w.now = w.now.Add(w.opt.Again - time.Second)
	w.run(w.deleter.Run)
	if !w.has(replaced.Key()) {
		t.Fatal("deleted again too early")
	}
	w.now = w.now.Add(time.Second)
	w.run(w.deleter.Run)
	if w.has(replaced.Key()) || len(w.state.Garbage()) > 1 { // the seqs are above the floor
		t.Errorf("not deleted again, or still listed: %v", w.state.Garbage())
	}
}

func TestAHoldAndAClockThatIsNotTrustedKeepAllObjects(t *testing.T) {
	w, replaced := mergedWorld(t)
	for _, w.clear = range []error{clocks.ErrWrong, clocks.ErrTooEarly, errFault} {
		w.now = w.now.Add(time.Second)
		if _, err := w.releaser.Run(t.Context()); errors.Is(err, errFault) != (w.clear == errFault) || w.carries > 0 {
			t.Fatalf("released by a clock that is not trusted: %v", err)
		}
	}
	w.clear, w.now = nil, w.now.Add(time.Second)
	w.run(w.releaser.Run)
	w.now = w.now.Add(MergeGrace)
	h := segment.Hold{Cluster: testCluster, Object: segment.ID{8}, UntilMs: w.now.Add(time.Hour).UnixMilli(), Reason: "backup"}
	if err := hold.Place(t.Context(), w.store, h); err != nil {
		t.Fatal(err)
	}
	w.run(w.deleter.Run)
	if !w.has(replaced.Key()) || w.held != 1 {
		t.Fatalf("deleted during a hold, %d are known", w.held)
	}
	w.now = w.now.Add(2 * time.Hour)
	for _, w.clear = range []error{clocks.ErrWrong, clocks.ErrTooEarly, errFault} {
		if _, err := w.deleter.Run(t.Context()); errors.Is(err, errFault) != (w.clear == errFault) || !w.has(replaced.Key()) {
			t.Fatalf("deleted by a clock that is not trusted: %v", err)
		}
	}
	w.clear = nil
	w.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpList {
			return mem.FailBefore(errFault)
		}
		return mem.Action{}
	}
	if _, err := w.deleter.Run(t.Context()); err == nil || !w.has(replaced.Key()) {
		t.Fatalf("deleted without a look at the holds: %v", err)
	}
	w.fault = nil
	w.run(w.deleter.Run)
	if w.has(replaced.Key()) || w.held != 0 {
		t.Errorf("not deleted after the hold, %d are known", w.held)
	}
}

func TestAFailedDeletionIsTriedAgain(t *testing.T) {
	w, replaced := mergedWorld(t)
	w.run(w.releaser.Run)
	w.floor, w.now = w.seq, w.now.Add(MergeGrace)
	second := segment.JournalKey(1, 4)
	w.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpDelete && (c.Key == replaced.Key() || c.Key == second) {
			return mem.FailBefore(errFault)
		}
		return mem.Action{}
	}
	if _, err := w.deleter.Run(t.Context()); !errors.Is(err, errFault) {
		t.Errorf("error %v", err)
	}
	if w.has(segment.JournalKey(1, 3)) || !w.has(second) {
		t.Error("the first seq is there, or the second is not")
	}
	w.fault = nil
	w.run(w.deleter.Run)
	if deleted, failed := w.deleter.Counts(); w.has(replaced.Key()) || w.has(second) || failed != 2 || deleted < 3 {
		t.Errorf("not deleted again; %d deletions, %d failures", deleted, failed)
	}
}

func TestAnObjectThatCannotBeJudgedStopsTheJudging(t *testing.T) {
	for name, spoil := range map[string]func(w *world, key string){
		"missing":       func(w *world, key string) { w.store.DeleteNow(key) },
		"damaged":       func(w *world, key string) { w.store.PutNow(key, make([]byte, 400)) },
		"cut":           func(w *world, key string) { b, _ := w.store.GetNow(key); w.store.PutNow(key, b[:100]) },
		"another's":     func(w *world, key string) { b, _ := w.store.GetNow(segment.JournalKey(1, 2)); w.store.PutNow(key, b) },
		"cannot be had": func(w *world, key string) {},
	} {
		w, _ := mergedWorld(t)
		w.state, w.opt.State = restored(t, w), nil
		w.fence()
		w.lead()
		spoil(w, segment.JournalKey(1, 3))
		if name == "cannot be had" {
			w.fault = func(c mem.Call) mem.Action {
				if c.Op == objstore.OpGetRange && c.Key == segment.JournalKey(1, 3) {
					return mem.FailBefore(errFault)
				}
				return mem.Action{}
			}
		}
		if _, err := w.releaser.Run(t.Context()); (err != nil) != (name == "cannot be had") {
			t.Errorf("%s: error %v", name, err)
		}
		for _, g := range w.state.Garbage() {
			if g.Seqs.Last >= 3 { // seq 2 opens the partitions
				t.Errorf("%s: seqs %v are released", name, g.Seqs)
			}
		}
	}
}

// TestDamageThatNoExtentNamesAnyMoreDoesNotStopTheJudging: records that could not be merged
// were deleted, and a new leader cannot read their object either.
func TestDamageThatNoExtentNamesAnyMoreDoesNotStopTheJudging(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	w.object(segment.KindData, nil, 1) // is not judged, nor are those above it
	w.object(segment.KindData, nil, 0)
	w.object(segment.KindData, nil, 0)
	v, _ := w.state.Lookup(key(0))
	other, _ := w.state.Lookup(key(1))
	x, _, _, _ := w.state.Find(key(0), 0, 1)
	lost := x[0]
	n, id := segment.OwnSegment(testTopic, 0, lost.Last+1, w.id()), w.id()
	w.object(segment.KindData, []segment.Entry{partlog.Intent{Job: id, Objects: []segment.Name{n}}.Encode()})
	w.object(segment.KindData, []segment.Entry{(&partlog.Result{Job: id, Last: true, Parts: []partlog.ResultPart{
		{Key: key(0), To: v.End, Extents: []partlog.Extent{lost, w.extent(n, lost.Last+1, v.End-1)}}}}).Encode()})
	w.store.DeleteNow(lost.Object.Key())
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(0), Before: lost.Last + 1}.Encode()})
	w.run(w.releaser.Run)
	w.state = restored(t, w)
	w.fence()
	w.lead()
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(1), Before: other.End}.Encode()})
	for range 3 {
		w.now = w.now.Add(time.Second)
		w.run(w.releaser.Run)
	}
	var seqs []partlog.Seqs
	for _, g := range w.state.Garbage() {
		if g.Seqs.First > 0 {
			seqs = append(seqs, g.Seqs)
		}
	}
	if judged, _ := w.state.Judged(); judged.Seq <= lost.Object.Seq+1 {
		t.Errorf("judged up to seq %d, garbage %v; seq %d is lost", judged.Seq, seqs, lost.Object.Seq)
	}
}

// restored is the state as a checkpoint has it.
func restored(t *testing.T, w *world) *partlog.State {
	t.Helper()
	s, err := partlog.Decode(1, w.state.Encode(nil, segment.ID{}, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAReleaseIsBounded: the list of garbage is, too.
func TestAReleaseIsBounded(t *testing.T) {
	v := &view{lowest: unknown, judged: partlog.Judged{Seq: 1, Epoch: 1}}
	for i := range uint64(3 * maxRanges) {
		v.runs = append(v.runs, partlog.Run{Seqs: partlog.Seqs{First: 2 * i, Last: 2 * i}, Epoch: 1})
		v.unreleased = append(v.unreleased, partlog.Unreleased{Name: segment.SharedSegment(1, segment.ID{byte(i), byte(i >> 8), 1})})
	}
	releases, more := v.plan()
	if len(releases) != 1 || !more || len(releases[0].Objects) != maxObjects || len(releases[0].Seqs) != maxRanges {
		t.Fatalf("%d releases, more %t", len(releases), more)
	}
	if got, want := releases[0].Judged.Seq, releases[0].Seqs[maxRanges-1].Last+1; got != want {
		t.Errorf("judged up to %d, released up to %d", got, want)
	}
	v.waiting = partlog.MaxGarbage - 5
	if releases, _ = v.plan(); len(releases[0].Objects)+len(releases[0].Seqs) != 5 {
		t.Errorf("%d objects and %d ranges, 5 fit", len(releases[0].Objects), len(releases[0].Seqs))
	}
	v.waiting = partlog.MaxGarbage
	if releases, more = v.plan(); len(releases) != 0 || more {
		t.Errorf("%d releases though none fit, more %t", len(releases), more)
	}
}

func TestObjectsOfAnIntentAreNotReleased(t *testing.T) {
	w, replaced := mergedWorld(t)
	v, _ := w.state.Lookup(key(0))
	id, n := w.id(), segment.OwnSegment(testTopic, 0, 0, w.id())
	x, _, _, _ := w.state.Find(key(0), 0, 1)
	w.object(segment.KindData, []segment.Entry{partlog.Intent{Job: id, Objects: []segment.Name{n}}.Encode()})
	w.object(segment.KindData, []segment.Entry{(&partlog.Result{Job: id, Parts: []partlog.ResultPart{
		{Key: key(0), To: v.End, Replaced: x, Extents: []partlog.Extent{w.extent(n, 0, v.End-1)}}}}).Encode()})
	w.object(segment.KindData, []segment.Entry{partlog.DeleteRecords{Key: key(0), Before: v.End}.Encode()})
	w.run(w.releaser.Run)
	released := func() (names []segment.Name) {
		for _, g := range w.state.Garbage() {
			names = append(names, g.Name)
		}
		return names
	}
	names := released()
	if slices.Contains(names, n) || !slices.Contains(names, replaced) {
		t.Errorf("released %v", names)
	}
	w.object(segment.KindData, []segment.Entry{partlog.Abandon{Job: id}.Encode()})
	w.now = w.now.Add(time.Second)
	w.run(w.releaser.Run)
	if names = released(); !slices.Contains(names, n) {
		t.Errorf("not released after the intent: %v", names)
	}
}

// TestWithoutWorkNoRequestIsSent: an idle journal costs nothing.
func TestWithoutWorkNoRequestIsSent(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	w.run(w.releaser.Run)
	before := w.store.Calls(objstore.OpList) + w.store.Calls(objstore.OpGet) + w.store.Calls(objstore.OpGetRange)
	for range 3 {
		w.now = w.now.Add(time.Hour)
		if _, err := w.deleter.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if after := w.store.Calls(objstore.OpList) + w.store.Calls(objstore.OpGet) + w.store.Calls(objstore.OpGetRange); after != before {
		t.Errorf("%d requests", after-before)
	}
}
