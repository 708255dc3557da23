package partlog

import (
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// TestAPageMayLoseExtentsManyTimes: as when a compaction writes some of them again, and the
// next one others.
func TestAPageMayLoseExtentsManyTimes(t *testing.T) {
	l := &leader{library: library{State: mergedState(t), objects: map[segment.ID][]byte{}}}
	s := l.State
	seq := uint64(9)
	own := func(n byte, base int64) segment.Name { return segment.OwnSegment(testTopic, 0, base, segment.ID{3, n}) }
	replace := func(job byte, from, to int64, replaced []Extent, extents ...Extent) {
		t.Helper()
		intent := Intent{Job: segment.ID{9, job}}
		for _, e := range extents {
			intent.Objects = append(intent.Objects, e.Object)
		}
		mustApply(t, s, data(seq, 1), intent.Encode())
		mustApply(t, s, data(seq+1, 1), (&Result{Job: intent.Job, Last: true, Parts: []ResultPart{{Key: keyA, From: from, To: to, Replaced: replaced, Extents: extents}}}).Encode())
		seq += 2
	}
	var all []Extent
	for i := range int64(10) {
		all = append(all, finalExtent(own(byte(1+i), 2*i), 2*i, 2*i+1))
	}
	replace(1, 0, 20, []Extent{mergedExtent(ownA, 0, 9)}, all...)
	l.plan(1)
	l.paged()
	for i, at := range []int64{7, 2, 4, 0, 9, 5} {
		replace(byte(2+i), 2*at, 2*at+2, all[at:at+1], mergedExtent(own(byte(20+at), 2*at), 2*at, 2*at+1))
		want := map[segment.IndexName]int64{}
		survey, _ := s.SurveyOf(keyA)
		for _, p := range survey.Pages {
			want[p.IndexName] -= p.Bytes
			for _, e := range l.load(t, p).From(p.Base, 100) {
				want[p.IndexName] += int64(e.Length)
			}
			if p.Whole() || p.Bytes < 0 {
				t.Errorf("after %d replacements: the page from offset %d to %d has %d bytes", i+1, p.Base, p.Last, p.Bytes)
			}
		}
		for name, bytes := range want {
			if bytes != 0 {
				t.Errorf("after %d replacements: the parts of %s have %d bytes more than is counted", i+1, name.Key(), bytes)
			}
		}
		v, _ := s.Lookup(keyA)
		if total := int64(9-i)*finalBytes + int64(i+1)*int64(mergedExtent(ownA, 0, 9).Length); v.MergedBytes != total {
			t.Errorf("after %d replacements: %d bytes are merged, want %d", i+1, v.MergedBytes, total)
		}
		decoded, err := Decode(testJournal, s.Encode(nil, segment.ID{}, nil), nil)
		if err != nil {
			t.Fatalf("after %d replacements no node can start: %v", i+1, err)
		}
		if decoded.Hash() != s.Hash() {
			t.Errorf("after %d replacements: another state", i+1)
		}
	}
	mustApply(t, s, data(seq, 1), DeleteRecords{keyA, 4}.Encode())
	mustApply(t, s, data(seq+1, 1), (&Release{Class: ClassUser, Judged: Judged{5, 1}, Freed: []Freed{{keyA, 4}}, Objects: []segment.Name{own(20, 0), all[1].Object}}).Encode())
	if v, _ := s.Lookup(keyA); v.MergedBytes < 0 {
		t.Errorf("%d bytes are merged", v.MergedBytes)
	}
	if _, err := Decode(testJournal, s.Encode(nil, segment.ID{}, nil), nil); err != nil {
		t.Error(err)
	}
}

// COMPATIBILITY: programs before counted too little, below zero.
func TestCheckpointsWithBytesBelowZeroAreAccepted(t *testing.T) {
	s := goldenTiered(t).State
	for i := range s.parts[keyA].below.chunks {
		if c := &s.parts[keyA].below.chunks[i]; c.page != nil {
			c.bytes = -5
		}
	}
	decoded, err := Decode(testJournal, s.Encode(nil, segment.ID{}, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	survey, _ := decoded.SurveyOf(keyA)
	for _, p := range survey.Pages {
		if p.Bytes != 0 {
			t.Errorf("a page has %d bytes", p.Bytes)
		}
	}
}
