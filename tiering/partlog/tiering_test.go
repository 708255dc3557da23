package partlog

import (
	"errors"
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

var (
	ownA    = segment.OwnSegment(testTopic, 0, 0, segment.ID{1, 1})
	ownA2   = segment.OwnSegment(testTopic, 0, 10, segment.ID{1, 2})
	sharedX = segment.SharedSegment(testJournal, segment.ID{2, 1})
	jobOne  = segment.ID{9, 1}
	jobTwo  = segment.ID{9, 2}
)

// mergedState has partition A with offsets 0 to 39 in seqs 3 to 6, and B with 0 to 4 in seq
// 3. A is merged up to 30: 0 to 9 in an own segment, 10 to 19 in a shared one, 20 to 29
// stay at seq 5, which is damaged. B is merged up to 5, in the same shared segment.
func mergedState(t testing.TB) *State {
	t.Helper()
	s := New(testJournal)
	mustApply(t, s, fence(1, 1))
	mustApply(t, s, data(3, 1, records(keyA, 1, 0, 9, 1), records(keyB, 1, 0, 4, 1)), open(keyA, 0, 0), open(keyB, 0, 0))
	for i := range int64(3) {
		mustApply(t, s, data(uint64(4+i), 1, records(keyA, 1, 10+10*i, 19+10*i, 1)))
	}
	mustApply(t, s, data(7, 1), Intent{jobOne, []segment.Name{ownA, sharedX}}.Encode())
	mustApply(t, s, data(8, 1), (&Result{Job: jobOne, Last: true, Parts: []ResultPart{
		{Key: keyA, From: 0, To: 30, Extents: []Extent{mergedExtent(ownA, 0, 9), mergedExtent(sharedX, 10, 19), damagedExtent(5, 1, 20, 29)}},
		{Key: keyB, From: 0, To: 5, Extents: []Extent{mergedExtent(sharedX, 0, 4)}},
	}}).Encode())
	return s
}

// again has an intent of a second job, which may create an own segment of A.
func again(t testing.TB) *State {
	t.Helper()
	s := mergedState(t)
	mustApply(t, s, data(9, 1), Intent{jobTwo, []segment.Name{ownA2}}.Encode())
	return s
}

// second is a Result of the second job in A.
func second(from, to int64, replaced []Extent, extents ...Extent) segment.Entry {
	return (&Result{Job: jobTwo, Parts: []ResultPart{{Key: keyA, From: from, To: to, Replaced: replaced, Extents: extents}}}).Encode()
}

func release(e Release) segment.Entry {
	e.Class = ClassMerge
	return e.Encode()
}

func TestEntriesOfTieringThatDoNotFitChangeNothing(t *testing.T) {
	k9 := Key{testTopic, 9}
	own := func(from, to int64) Extent { return mergedExtent(ownA2, from, to) }
	for name, entries := range map[string][]segment.Entry{
		"intent of a job that has one":               entries(Intent{jobTwo, []segment.Name{ownOne}}.Encode()),
		"intent with an object of another":           entries(Intent{segment.ID{9, 3}, []segment.Name{ownA2}}.Encode()),
		"intent with an object in use":               entries(Intent{segment.ID{9, 3}, []segment.Name{sharedX}}.Encode()),
		"abandoned without an intent":                entries(Abandon{jobOne}.Encode()),
		"abandoned twice":                            entries(Abandon{jobTwo}.Encode(), Abandon{jobTwo}.Encode()),
		"result without an intent":                   entries((&Result{Job: jobOne, Parts: []ResultPart{{Key: keyA, From: 30, To: 40, Extents: []Extent{mergedExtent(ownA, 30, 39)}}}}).Encode()),
		"result after the last":                      entries((&Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: k9, To: 1, Extents: []Extent{damagedExtent(3, 1, 0, 0)}}}}).Encode(), second(30, 40, nil, damagedExtent(6, 1, 30, 39))),
		"object that its intent does not have":       entries(second(30, 40, nil, mergedExtent(ownOne, 30, 39))),
		"object under another name":                  entries(second(30, 40, nil, mergedExtent(segment.OwnSegment(testTopic, 0, 11, ownA2.Object), 30, 39))),
		"first merge below merged":                   entries(second(20, 40, nil, own(20, 39))),
		"first merge above merged":                   entries(second(31, 40, nil, own(31, 39))),
		"first merge beyond the end":                 entries(second(30, 41, nil, own(30, 40))),
		"first merge that replaces":                  entries(second(30, 40, []Extent{mergedExtent(ownA, 30, 39)}, own(30, 39))),
		"damage at a seq to come":                    entries(second(30, 40, nil, damagedExtent(10, 1, 30, 39))),
		"replaces half an extent":                    entries(second(15, 20, nil, own(15, 19))),
		"replaces up to the middle of an extent":     entries(second(10, 15, nil, own(10, 14))),
		"replaces an own segment and does not list":  entries(second(10, 20, nil, own(10, 19)), second(0, 10, nil, damagedExtent(3, 1, 0, 9))),
		"lists an own segment that is not there":     entries(second(10, 20, []Extent{mergedExtent(ownOne, 10, 19)}, own(10, 19))),
		"lists an own segment with other bytes":      entries(second(0, 20, []Extent{func() Extent { x := mergedExtent(ownA, 0, 9); x.CRC++; return x }()}, damagedExtent(5, 1, 0, 9), own(10, 19))),
		"damage that was merged":                     entries(second(10, 20, nil, damagedExtent(4, 1, 10, 19))),
		"own segment again":                          entries(second(10, 20, nil, own(10, 19)), second(30, 40, nil, own(30, 39))),
		"shared segment that was another":            entries(Intent{segment.ID{9, 3}, []segment.Name{sharedOne}}.Encode(), (&Result{Job: segment.ID{9, 3}, Parts: []ResultPart{{Key: keyA, From: 30, To: 40, Extents: []Extent{mergedExtent(sharedOne, 30, 39)}}}}).Encode(), (&Result{Job: segment.ID{9, 3}, Parts: []ResultPart{{Key: keyB, From: 0, To: 5, Extents: []Extent{func() Extent { x := mergedExtent(sharedOne, 0, 4); x.Size++; return x }()}}}}).Encode()),
		"cleaned beyond merged":                      entries(Cleaned{keyA, 31, 1, 0}.Encode()),
		"cleaned goes back":                          entries(Cleaned{keyA, 20, 1, 0}.Encode(), Cleaned{keyA, 19, 1, 0}.Encode()),
		"tombstones above the cleaned of before":     entries(Cleaned{keyA, 20, 1, 1}.Encode()),
		"tombstones go back":                         entries(Cleaned{keyA, 20, 1, 0}.Encode(), Cleaned{keyA, 20, 1, 9}.Encode(), Cleaned{keyA, 20, 1, 8}.Encode()),
		"releases an object in use":                  entries(release(Release{Objects: []segment.Name{sharedX}})),
		"releases an own segment in use":             entries(release(Release{Objects: []segment.Name{ownA}})),
		"releases an object under way":               entries(release(Release{Objects: []segment.Name{ownA2}})),
		"releases an unknown object":                 entries(release(Release{Objects: []segment.Name{ownOne}})),
		"releases garbage":                           entries(Abandon{jobTwo}.Encode(), release(Release{Objects: []segment.Name{ownA2}})),
		"releases an object under another name":      entries(second(10, 20, nil, own(10, 19)), (&Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: keyB, From: 0, To: 5, Extents: []Extent{damagedExtent(5, 1, 0, 4)}}}}).Encode(), release(Release{Objects: []segment.Name{segment.OwnSegment(testTopic, 0, 0, sharedX.Object)}})),
		"releases an object twice":                   entries(second(10, 20, nil, own(10, 19)), (&Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: keyB, From: 0, To: 5, Extents: []Extent{damagedExtent(5, 1, 0, 4)}}}}).Encode(), release(Release{Objects: []segment.Name{sharedX}}), release(Release{Objects: []segment.Name{sharedX}})),
		"frees above the start":                      entries(release(Release{Freed: []Freed{{keyA, 1}}})),
		"frees a partition that is not there":        entries(release(Release{Freed: []Freed{{k9, 1}}})),
		"frees and does not release":                 entries(DeleteRecords{keyA, 10}.Encode(), release(Release{Freed: []Freed{{keyA, 10}}})),
		"frees backwards":                            entries(DeleteRecords{keyA, 9}.Encode(), release(Release{Freed: []Freed{{keyA, 9}}}), release(Release{Freed: []Freed{{keyA, 8}}})),
		"releases a seq that an extent names":        entries(release(Release{Seqs: []Seqs{{5, 5}}})),
		"releases a seq with records":                entries(release(Release{Seqs: []Seqs{{6, 6}}})),
		"releases a seq to come":                     entries(DeleteRecords{keyA, 40}.Encode(), release(Release{Seqs: []Seqs{{6, 10}}})),
		"releases a seq twice":                       entries(release(Release{Seqs: []Seqs{{3, 4}}}), release(Release{Seqs: []Seqs{{4, 4}}})),
		"judges objects to come":                     entries(release(Release{Judged: Judged{11, 1}})),
		"judges in an epoch to come":                 entries(release(Release{Judged: Judged{4, 2}})),
		"judges backwards":                           entries(release(Release{Judged: Judged{4, 1}}), release(Release{Judged: Judged{3, 1}})),
		"sweeps an object that is not garbage":       entries((&Swept{Objects: []segment.ID{ownA.Object}}).Encode()),
		"sweeps for the second time, without first":  entries(Abandon{jobTwo}.Encode(), (&Swept{Second: true, Objects: []segment.ID{ownA2.Object}}).Encode()),
		"sweeps for the first time again":            entries(Abandon{jobTwo}.Encode(), (&Swept{Objects: []segment.ID{ownA2.Object}}).Encode(), (&Swept{Objects: []segment.ID{ownA2.Object}}).Encode()),
		"sweeps seqs that are not garbage":           entries((&Swept{Seqs: []Seqs{{3, 3}}}).Encode()),
		"sweeps seqs from the middle of a range":     entries(release(Release{Seqs: []Seqs{{3, 4}}}), (&Swept{Seqs: []Seqs{{4, 4}}}).Encode()),
		"sweeps seqs beyond a range":                 entries(release(Release{Seqs: []Seqs{{3, 4}}}), (&Swept{Seqs: []Seqs{{3, 5}}}).Encode()),
		"drops an open partition":                    entries(Drop{keyA}.Encode()),
		"drops a partition that is not there":        entries(Drop{k9}.Encode()),
		"drops twice":                                entries(Seal{keyA}.Encode(), Drop{keyA}.Encode(), Drop{keyA}.Encode()),
		"reopens an open partition":                  entries(Reopen{keyA}.Encode()),
		"reopens a partition that is not there":      entries(Reopen{k9}.Encode()),
		"entries that do not fit after ones that do": entries(Abandon{jobTwo}.Encode(), Drop{k9}.Encode()),
	} {
		t.Run(name, func(t *testing.T) {
			s := again(t)
			before := s.Hash()
			tried := s.Try(entries)
			if err := s.Apply(data(10, 1), entries); !errors.Is(err, ErrContradiction) || !errors.Is(tried, ErrContradiction) {
				t.Errorf("error %v, tried %v", err, tried)
			}
			if s.Hash() != before || s.Head() != 9 {
				t.Error("the state has changed")
			}
		})
	}
}

func TestTryTakesWhatApplyTakes(t *testing.T) {
	s := again(t)
	e := second(10, 20, nil, mergedExtent(ownA2, 10, 19))
	before := s.Hash()
	if err := s.Try(entries(e)); err != nil || s.Hash() != before {
		t.Errorf("error %v, or the state has changed", err)
	}
	mustApply(t, s, data(10, 1), e)
}

// garbageOf is the garbage of a state, by object.
func garbageOf(s *State) map[segment.ID]Garbage {
	out := map[segment.ID]Garbage{}
	for _, g := range s.Garbage() {
		out[g.Name.Object] = g
	}
	return out
}

func TestAFenceEndsIntentsAndKeepsPlacedObjects(t *testing.T) {
	s := mergedState(t)
	third := segment.SharedSegment(testJournal, segment.ID{2, 3})
	mustApply(t, s, data(9, 1), Intent{jobTwo, []segment.Name{ownA2, third}}.Encode())
	mustApply(t, s, data(10, 1), second(10, 20, nil, mergedExtent(ownA2, 10, 19)))
	f := fence(11, 2)
	mustApply(t, s, f)
	want := Garbage{Name: third, Class: ClassMerge, SinceMs: f.Header.BuiltMs, Ended: true}
	if got := garbageOf(s); len(got) != 1 || got[third.Object] != want || len(s.Intents()) != 0 {
		t.Errorf("garbage %+v, intents %v", got, s.Intents())
	}
	if extents, _, _, _ := s.Find(keyA, 10, 1); len(extents) != 1 || extents[0].Object != ownA2 {
		t.Errorf("offset 10 is in %+v", extents)
	}
}

// TestAResultIsClippedAtTheStart: records were deleted while the Result was under way.
func TestAResultIsClippedAtTheStart(t *testing.T) {
	for name, tc := range map[string]struct {
		start   int64
		placed  bool
		garbage bool
	}{
		"within the extent":         {15, true, false},
		"up to its end":             {20, false, true},
		"beyond the whole of merge": {35, false, true},
	} {
		s := again(t)
		mustApply(t, s, data(10, 1), DeleteRecords{keyA, tc.start}.Encode())
		r := Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: keyA, From: 10, To: 20, Extents: []Extent{mergedExtent(ownA2, 10, 19)}}}}
		mustApply(t, s, data(11, 1), r.Encode())
		_, garbage := garbageOf(s)[ownA2.Object]
		var placed bool
		s.Survey(func(v *Survey) {
			placed = placed || slices.ContainsFunc(v.Segments, func(x Extent) bool { return x.Object == ownA2 })
			if v.Key == keyA && v.View.Start != tc.start {
				t.Errorf("%s: the log starts at %d, want %d", name, v.View.Start, tc.start)
			}
		})
		if placed != tc.placed || garbage != tc.garbage {
			t.Errorf("%s: placed %t, garbage %t", name, placed, garbage)
		}
	}
}

// TestAResultForADroppedPartitionIsLeftOut: it may have left the state, too.
func TestAResultForADroppedPartitionIsLeftOut(t *testing.T) {
	for _, left := range []bool{false, true} {
		s := again(t)
		mustApply(t, s, data(10, 1), Seal{keyA}.Encode(), Drop{keyA}.Encode())
		if left {
			mustApply(t, s, data(11, 1), release(Release{Freed: []Freed{{keyA, 40}}, Objects: []segment.Name{ownA}}))
		}
		if _, ok := s.Lookup(keyA); ok == left {
			t.Errorf("the partition is there: %t", ok)
		}
		r := Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: keyA, From: 30, To: 40, Extents: []Extent{mergedExtent(ownA2, 30, 39)}}}}
		mustApply(t, s, data(12, 1), r.Encode(), Cleaned{keyA, 1, 1, 0}.Encode())
		if _, ok := garbageOf(s)[ownA2.Object]; !ok {
			t.Error("the object is not garbage")
		}
	}
}

func TestOneObjectAppliesInTheOrderOfKinds(t *testing.T) {
	s := again(t)
	r := Result{Job: jobTwo, Last: true, Parts: []ResultPart{{Key: keyA, From: 10, To: 20, Extents: []Extent{mergedExtent(ownA2, 10, 19)}}}}
	mustApply(t, s, data(10, 1),
		Drop{keyB}.Encode(),
		(&Swept{Objects: []segment.ID{ownA.Object, ownA2.Object}}).Encode(),
		release(Release{Freed: []Freed{{keyA, 10}}, Objects: []segment.Name{ownA}}),
		r.Encode(), DeleteRecords{keyA, 25}.Encode(), Seal{keyB}.Encode())
	garbage := garbageOf(s)
	if len(garbage) != 2 || !garbage[ownA.Object].Deleted || !garbage[ownA2.Object].Deleted {
		t.Errorf("garbage %+v", garbage)
	}
	if v, _ := s.Lookup(keyB); !v.Dropped {
		t.Errorf("%+v", v)
	}
}

func TestAReleaseWaitsWhileTooMuchIsGarbage(t *testing.T) {
	s := New(testJournal)
	mustApply(t, s, fence(1, 1))
	fill := &Release{Class: ClassMerge}
	for i := range uint64(MaxGarbage) {
		fill.Seqs = append(fill.Seqs, Seqs{2 + 2*i, 2 + 2*i})
	}
	mustApply(t, s, data(50_000, 1), fill.Encode(), Intent{jobOne, []segment.Name{ownA}}.Encode(), Abandon{jobOne}.Encode())
	one := release(Release{Seqs: []Seqs{{3, 3}}})
	if err := s.Apply(data(50_001, 1), entries(one)); !errors.Is(err, ErrContradiction) {
		t.Errorf("error %v", err)
	}
	mustApply(t, s, data(50_002, 1), (&Swept{Objects: []segment.ID{ownA.Object}, Seqs: []Seqs{{2, 2}}}).Encode())
	mustApply(t, s, data(50_003, 1), one)
}

func TestAReopenedPartitionGoesOn(t *testing.T) {
	s := mergedState(t)
	mustApply(t, s, data(9, 1), Seal{keyA}.Encode())
	mustApply(t, s, fence(10, 2))
	mustApply(t, s, data(11, 2, records(keyA, 2, 40, 41, 1)), Reopen{keyA}.Encode(), DeleteRecords{keyA, 1}.Encode())
	if v, _ := s.Lookup(keyA); v.Sealed || v.Epoch != 2 || v.End != 42 || v.Start != 1 {
		t.Errorf("%+v", v)
	}
}
