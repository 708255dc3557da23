package partlog

import (
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// figures are the figures of a partition.
type figures struct{ left, deleted, all int64 }

func (s *State) figuresOf(t reporter, k Key) figures {
	x, ok := s.SurveyOf(k)
	all, too := s.Bytes(k)
	if !ok || !too {
		t.Fatal("the partition is not there")
	}
	return figures{x.JournalBytes, x.DeletedBytes, all}
}

func TestBytesAreThoseThatExtentsName(t *testing.T) {
	s := mergedState(t)
	if got, want := s.figuresOf(t, keyA), (figures{100, 300, 2100}); got != want { // Source was 0
		t.Errorf("%+v, want %+v", got, want)
	}
	mustApply(t, s, data(9, 1), Intent{jobTwo, []segment.Name{ownA2}}.Encode())
	mustApply(t, s, data(10, 1), (&Result{Job: jobTwo, Last: true, Parts: []ResultPart{
		{Key: keyA, From: 30, To: 40, Source: 100, Extents: []Extent{mergedExtent(ownA2, 30, 39)}}}}).Encode())
	if got, want := s.figuresOf(t, keyA), (figures{0, 0, 3000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if v, _ := s.Lookup(keyA); v.MergedBytes != 3000 {
		t.Errorf("%+v", v)
	}
}

// TestDeletedRangesAreNotToBeMerged: the next Result counts those that were deleted before
// they were merged. A Result below the start counts nothing.
func TestDeletedRangesAreNotToBeMerged(t *testing.T) {
	l := newLeader()
	mustApply(t, l.State, fence(1, 1))
	mustApply(t, l.State, data(3, 1, records(keyA, 1, 0, 99, 1)), open(keyA, 0, 0))
	mustApply(t, l.State, data(4, 1, records(keyA, 1, 100, 109, 1)), Intent{jobTwo, []segment.Name{ownA, ownA2}}.Encode())
	result := func(from, to, source int64, name segment.Name) segment.Entry {
		return (&Result{Job: jobTwo, Parts: []ResultPart{{Key: keyA, From: from, To: to, Source: source, Extents: []Extent{mergedExtent(name, from, to-1)}}}}).Encode()
	}
	for i, step := range []struct {
		entry segment.Entry
		want  figures
	}{
		{DeleteRecords{keyA, 99}.Encode(), figures{1100, 0, 1100}}, // a range counts whole
		{DeleteRecords{keyA, 100}.Encode(), figures{100, 1000, 100}},
		{result(0, 100, 1000, ownA), figures{100, 1000, 100}},
		{DeleteRecords{keyA, 110}.Encode(), figures{0, 1100, 0}},
		{segment.Entry{}, figures{100, 1100, 100}},
		{segment.Entry{}, figures{200, 1100, 200}},
		{result(110, 120, 1200, ownA2), figures{100, 0, 1100}},
	} {
		f := data(uint64(5+i), 1)
		if step.entry.Payload == nil {
			v, _ := l.Lookup(keyA)
			f.Partitions = []segment.Partition{records(keyA, 1, v.End, v.End+9, 1)}
			mustApply(t, l.State, f)
		} else {
			mustApply(t, l.State, f, step.entry)
		}
		l.restart(t)
		if got := l.figuresOf(t, keyA); got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}

// TestBytesOfPagesAreEstimated: by offsets, if records were deleted before they were merged.
func TestBytesOfPagesAreEstimated(t *testing.T) {
	l := long(t, 100) // of ten bytes each
	l.plan(1)
	l.paged()
	for range 10 {
		v, _ := l.Lookup(keyA)
		mustApply(t, l.State, data(l.Head()+1, 1, records(keyA, 1, v.End, v.End, 1)))
	}
	mustApply(t, l.State, data(l.Head()+1, 1), DeleteRecords{keyA, 40}.Encode())
	for range 2 {
		if got, want := l.figuresOf(t, keyA), (figures{700, 400, 700}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		l.restart(t)
	}
	l.parts[keyA].sourced = 1095 // too much
	if got, want := l.figuresOf(t, keyA), (figures{101, 0, 101}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	mustApply(t, l.State, data(l.Head()+1, 1), DeleteRecords{keyA, 105}.Encode())
	if got, want := l.figuresOf(t, keyA), (figures{50, 0, 50}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// checkBytes compares the figures of all states with the naive journal's. Of extents in
// pages, it is only known that they are not empty.
func (m *tierModel) checkBytes() {
	for _, s := range []*State{m.plain, m.l.State, m.other.State} {
		s.Survey(func(x *Survey) {
			p := m.parts[x.Key]
			var left, all int64
			for _, e := range p.refs {
				if all += int64(e.Length); !p.dropped && e.Last >= max(p.merged, p.start) {
					left += int64(e.Length)
				}
			}
			switch {
			case x.Appended != all:
				m.t.Fatalf("partition %v had %d bytes, want %d", x.Key, x.Appended, all)
			case x.FirstPage != nil && x.JournalBytes == 0, x.FirstPage == nil && x.JournalBytes != left:
				m.t.Fatalf("partition %v has %d bytes in the journal, want %d; its first page is %v", x.Key, x.JournalBytes, left, x.FirstPage)
			case x.FirstPage == nil && x.DeletedBytes != all-p.sourced-left:
				m.t.Fatalf("partition %v has %d deleted bytes, want %d", x.Key, x.DeletedBytes, all-p.sourced-left)
			case x.FirstPage != nil:
				m.t.Count("bytes in pages")
			case x.DeletedBytes > 0:
				m.t.Count("deleted before merged")
			}
		})
	}
}
