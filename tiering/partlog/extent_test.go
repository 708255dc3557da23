package partlog

import (
	"reflect"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

func TestExtentIsWhereTheFooterSays(t *testing.T) {
	footer := data(6, 2, records(keyA, 102, 15, 19, 40))
	p := footer.Partitions[0]
	e := ExtentOf(&footer.Header, &p)
	if want := segment.JournalKey(testJournal, 6); e.Object.Key() != want {
		t.Errorf("it lies in %s, want %s", e.Object.Key(), want)
	}
	want := batch.Place{Position: int64(p.Position), Length: int64(p.Length), Base: 15, Last: 19, Epoch: 102}
	if got := e.Place(); !reflect.DeepEqual(got, want) {
		t.Errorf("its batches are walked in %+v, want %+v", got, want)
	}
	if !e.Fits(&p) {
		t.Error("it does not fit its own footer")
	}
	for name, change := range map[string]func(*segment.Partition){
		"position":         func(p *segment.Partition) { p.Position += 1 << 32 },
		"length":           func(p *segment.Partition) { p.Length += 1 << 32 },
		"CRC":              func(p *segment.Partition) { p.CRC++ },
		"base offset":      func(p *segment.Partition) { p.BaseOffset++ },
		"last offset":      func(p *segment.Partition) { p.LastOffset++ },
		"leader epoch":     func(p *segment.Partition) { p.LeaderEpoch++ },
		"newest timestamp": func(p *segment.Partition) { p.MaxTimestamp++ },
	} {
		other := p
		if change(&other); e.Fits(&other) {
			t.Errorf("it fits a footer with another %s", name)
		}
	}
}

func TestBehindCountsObjectsAfterTheExtent(t *testing.T) {
	s := started(t) // offsets 10 to 14 in seq 5
	extents, _, _, _ := s.Find(keyA, 10, 1)
	for seq := uint64(6); seq < 9; seq++ {
		mustApply(t, s, data(seq, 2))
	}
	if n := s.Behind(&extents[0]); n != 3 {
		t.Errorf("%d objects came after it, want 3", n)
	}
	if n := s.Behind(&Extent{Object: segment.DataObject(testJournal, 20)}); n != 0 {
		t.Errorf("%d objects came after one that is not applied yet", n)
	}
}

func TestPageExtentsStartAnywhere(t *testing.T) {
	l := long(t, 5) // one offset each
	l.plan(1)
	l.paged()
	_, page, _, _ := l.Find(keyA, 0, 1)
	all := l.load(t, page)
	for offset, want := range map[int64]int{-1: 3, 0: 3, 2: 3, 3: 2, 4: 1, 5: 0} {
		got := all.From(offset, 3)
		if len(got) != want {
			t.Errorf("from offset %d on there are %d extents, want %d", offset, len(got), want)
		}
		for i, e := range got {
			if first := max(offset, 0) + int64(i); e.Base != first || e.Last != first || e.Object.Journal != testJournal {
				t.Errorf("extent %d from offset %d on is %+v", i, offset, e)
			}
		}
	}
}
