package sweep

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// replaceMany merges a partition into so many segments, and those into one.
func (w *world) replaceMany(i int32, n int) {
	w.t.Helper()
	first, _ := w.state.SurveyOf(key(i))
	w.records = n
	w.object(segment.KindData, nil, i)
	v, _ := w.state.Lookup(key(i))
	at := first.Merged
	part := partlog.ResultPart{Key: key(i), From: at, To: v.End}
	var names []segment.Name
	for j := range n {
		last := at
		if j == n-1 {
			last = v.End - 1
		}
		names = append(names, segment.OwnSegment(testTopic, i, at, w.id()))
		part.Extents = append(part.Extents, w.extent(names[j], at, last))
		at = last + 1
	}
	w.commit(names, part)
	one := segment.OwnSegment(testTopic, i, part.From, w.id())
	w.commit([]segment.Name{one}, partlog.ResultPart{
		Key: key(i), From: part.From, To: part.To, Replaced: part.Extents, Extents: []partlog.Extent{w.extent(one, part.From, part.To-1)},
	})
}

// commit commits a job that is done at once.
func (w *world) commit(names []segment.Name, part partlog.ResultPart) {
	w.t.Helper()
	id := w.id()
	w.object(segment.KindData, []segment.Entry{partlog.Intent{Job: id, Objects: names}.Encode()})
	w.object(segment.KindData, []segment.Entry{(&partlog.Result{Job: id, Last: true, Parts: []partlog.ResultPart{part}}).Encode()})
}

// tidy runs both steps as a Keeper does, and returns the last failure.
func (w *world) tidy(rounds int) (failed error) {
	for range rounds {
		w.now = w.now.Add(10 * time.Minute)
		for _, step := range []func() (bool, error){
			func() (bool, error) { return w.releaser.Run(w.t.Context()) },
			func() (bool, error) { return w.deleter.Run(w.t.Context()) },
		} {
			for again := true; again; {
				var err error
				if again, err = step(); err != nil {
					failed = err
				}
			}
		}
	}
	return failed
}

func (w *world) waiting() (first, second int) {
	for _, g := range w.state.Garbage() {
		if g.Deleted {
			second++
		} else {
			first++
		}
	}
	return first, second
}

// TestRefusedDeletionsEndTheReleasesAndGoOnByThemselves: the list of garbage has a limit, at
// which nothing gets stuck.
func TestRefusedDeletionsEndTheReleasesAndGoOnByThemselves(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	w.opt.MergeGrace = MergeGrace
	w.lead()
	denied := errors.New("denied")
	w.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpDelete || c.Op == objstore.OpDeleteBatch {
			return mem.FailBefore(denied)
		}
		return mem.Action{}
	}
	for range 11 {
		w.replaceMany(0, 1000)
	}
	if err := w.tidy(9); !errors.Is(err, denied) {
		t.Fatalf("error %v", err)
	}
	first, second := w.waiting()
	if first != partlog.MaxGarbage || second != 0 || len(w.state.Unreleased()) == 0 {
		t.Fatalf("%d wait, %d for their second deletion, %d are not released", first, second, len(w.state.Unreleased()))
	}
	carries := w.carries
	if err := w.tidy(9); !errors.Is(err, denied) || w.carries > carries {
		t.Fatalf("error %v, %d objects were written for entries", err, w.carries-carries)
	}
	w.fault = nil
	w.floor = w.seq
	if err := w.tidy(10); err != nil {
		t.Fatal(err)
	}
	if first, _ = w.waiting(); first > 10 || len(w.state.Unreleased()) > 0 { // those of the last Releases
		t.Fatalf("%d wait, %d for their second deletion, %d are not released", first, second, len(w.state.Unreleased()))
	}
	if _, failed := w.deleter.Counts(); failed == 0 {
		t.Error("no failure is counted")
	}
	w.floor = w.seq
	if err := w.tidy(20); err != nil {
		t.Fatal(err)
	}
	if first, second = w.waiting(); first+second > 0 {
		t.Errorf("%d and %d are listed", first, second)
	}
}

// TestRefusedDeletionsDoNotHoldUpOthers: the store allows the deletion of some objects.
func TestRefusedDeletionsDoNotHoldUpOthers(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	w.fault = func(c mem.Call) mem.Action {
		if c.Op == objstore.OpDelete && strings.HasPrefix(c.Key, segment.TopicsPrefix) {
			return mem.FailBefore(errFault)
		}
		return mem.Action{}
	}
	for range 6 {
		w.replaceMany(0, 1000)
	}
	w.floor = w.seq
	if err := w.tidy(3); !errors.Is(err, errFault) || w.has(segment.JournalKey(1, 3)) {
		t.Errorf("error %v; an object that may be deleted is there: %t", err, w.has(segment.JournalKey(1, 3)))
	}
}
