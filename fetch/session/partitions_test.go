package session

import (
	"cmp"
	"slices"
	"testing"
)

var events, others = Topic{Name: "events"}, Topic{Name: "others"}

func TestAnAnswerHasThePartitionsThatChanged(t *testing.T) {
	p := NewPartitions()
	slot := p.Put(events, 3, Ask{})
	for i, test := range []struct {
		answer Answer
		send   bool
	}{
		{Answer{HighWatermark: 5}, true},
		{Answer{HighWatermark: 5}, false},
		{Answer{HighWatermark: 5, Records: true}, true},
		{Answer{HighWatermark: 5, Records: true}, true},
		{Answer{HighWatermark: 5}, false},
		{Answer{HighWatermark: 6}, true},
		{Answer{HighWatermark: 6, LogStart: 1}, true},
		{Answer{HighWatermark: 6, LogStart: 1, Failed: true}, true},
		{Answer{HighWatermark: 6, LogStart: 1, Failed: true}, true},
		{Answer{HighWatermark: 6, LogStart: 1}, true},
		{Answer{HighWatermark: 6, LogStart: 1}, false},
		{Answer{HighWatermark: -1, LogStart: -1, Failed: true}, true},
		{Answer{HighWatermark: -1, LogStart: -1, Failed: true}, true},
	} {
		if got := p.Answered(slot, test.answer); got != test.send {
			t.Errorf("answer %d, %+v: sent %v", i, test.answer, got)
		}
		p.Put(events, 3, Ask{Offset: int64(i)}) // a new wish changes nothing that the client knows
	}
}

func TestPartitionsWithRecordsGoBehindTheOthers(t *testing.T) {
	p := NewPartitions()
	for i := range int32(4) {
		p.Put(events, i, Ask{})
	}
	p.Answered(p.Put(events, 1, Ask{}), Answer{Records: true})
	p.Answered(p.Put(events, 0, Ask{}), Answer{HighWatermark: 9})
	p.Answered(p.Put(events, 2, Ask{}), Answer{Failed: true})
	var order []int32
	p.Each(func(_ int32, part *Partition) { order = append(order, part.Index) })
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Compare(p.At(p.Put(events, a, Ask{})).Order(), p.At(p.Put(events, b, Ask{})).Order())
	})
	if !slices.Equal(order, []int32{0, 2, 3, 1}) {
		t.Errorf("order %v", order)
	}
}

func TestSlotsAreUsedAgainAndAllIsForgotten(t *testing.T) {
	p := NewPartitions()
	empty := p.Size()
	a, b := p.Put(events, 0, Ask{}), p.Put(others, 0, Ask{Offset: 7})
	if a == b || p.Len() != 2 || p.Size().Partitions != 2 || p.Size().Bytes > empty.Plus(Growth(2, 2, 12)).Bytes {
		t.Errorf("slots %d and %d, %d partitions, %+v", a, b, p.Len(), p.Size())
	}
	for _, test := range []struct {
		topic Topic
		index int32
		want  bool
	}{{events, 0, true}, {others, 0, true}, {others, 1, false}, {Topic{Name: "none"}, 0, false}} {
		if p.Has(test.topic, test.index) != test.want {
			t.Errorf("has %v: %v", test, !test.want)
		}
	}
	p.Answered(b, Answer{HighWatermark: 5})
	if slot, ok := p.Forget(others, 0); !ok || slot != b {
		t.Errorf("forgot slot %d, %v", slot, ok)
	}
	if _, ok := p.Forget(others, 0); ok {
		t.Error("forgot a partition twice")
	}
	if _, ok := p.Forget(events, 1); ok {
		t.Error("forgot a partition that is not there")
	}
	if c := p.Put(others, 0, Ask{}); c != b || !p.Answered(c, Answer{HighWatermark: 5}) {
		t.Error("a partition that was forgotten is still known")
	}
	p.Forget(others, 0)
	p.Forget(events, 0)
	if p.Len() != 0 || len(p.topics) != 0 || p.strings != 0 || p.Size().Partitions != 0 {
		t.Errorf("left: %+v", p)
	}
}
