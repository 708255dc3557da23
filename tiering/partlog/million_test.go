package partlog

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// archive has rounds final extents in own segments of each partition. Pages hold them.
func archive(t testing.TB, partitions int32, rounds int64) *State {
	t.Helper()
	const perEntry = 1000
	s, seq := New(testJournal), uint64(0)
	apply := func(parts []segment.Partition, e ...segment.Entry) {
		seq++
		mustApply(t, s, data(seq, 1, parts...), e...)
	}
	var opens []segment.Entry
	for i := range partitions {
		opens = append(opens, open(Key{testTopic, i}, 0, 0))
	}
	apply(nil, opens...)
	for round := range rounds {
		var parts []segment.Partition
		for i := range partitions {
			parts = append(parts, records(Key{testTopic, i}, 1, round*100, round*100+99, round))
		}
		apply(parts)
		for first := int32(0); first < partitions; first += perEntry {
			intent := Intent{Job: segment.NewID()}
			result := Result{Job: intent.Job, Last: true}
			for i := first; i < min(first+perEntry, partitions); i++ {
				k := Key{testTopic, i}
				e := archivedExtent(k, round)
				intent.Objects = append(intent.Objects, e.Object)
				result.Parts = append(result.Parts, ResultPart{Key: k, From: round * 100, To: round*100 + 100, Extents: []Extent{e}})
			}
			apply(nil, intent.Encode())
			apply(nil, result.Encode())
		}
		if round%128 == 127 || round == rounds-1 {
			for ix, ok := s.PlanIndex(1); ok; ix, ok = s.PlanIndex(1) {
				s.Paged(ix, segment.NewID())
			}
		}
	}
	return s
}

func archivedExtent(k Key, round int64) Extent {
	id := segment.ID{1, 2}
	binary.BigEndian.PutUint32(id[4:], uint32(k.Index))
	binary.BigEndian.PutUint64(id[8:], uint64(round))
	return Extent{
		Object: segment.OwnSegment(k.Topic, k.Index, round*100, id), Base: round * 100, Last: round*100 + 99,
		MaxTimestamp: round, Position: segment.MergedHeaderSize, Length: finalBytes, IndexLength: 3000,
		Records: 100, Size: finalBytes + 4000, SHA256: [32]byte{1}, BuiltMs: 1, SourceMs: 1,
	}
}

// TestFinalExtentsTakeNoMemory pins the memory of partitions with a hundred final extents
// each, as a node has it after a start.
func TestFinalExtentsTakeNoMemory(t *testing.T) {
	const partitions, rounds = 1000, 100
	checkpoint := archive(t, partitions, rounds).Encode(nil, segment.ID{}, nil)
	before := heap()
	s, err := Decode(testJournal, checkpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	extents, page, view, ok := s.Find(Key{testTopic, 7}, 0, 10)
	if page == nil || len(extents) > 0 || view.End != 100*rounds || !ok || page.Last != view.End-1 {
		t.Fatalf("the extents are not in one page: %+v", page)
	}
	const most = 2000 // bytes for each partition: a million extents in 10,000 take 20 MB
	if bytes := (heap() - before) / partitions; bytes > most {
		t.Errorf("%d bytes for each partition with %d extents in pages, want %d at most", bytes, rounds, most)
	} else {
		t.Logf("%d bytes for each partition, %d in the checkpoint", bytes, len(checkpoint)/partitions)
	}
	runtime.KeepAlive(checkpoint)
	runtime.KeepAlive(s)
}

// BenchmarkMillionExtents restores a million final extents in 10,000 partitions.
func BenchmarkMillionExtents(b *testing.B) {
	checkpoint := archive(b, 10_000, 100).Encode(nil, segment.ID{}, nil)
	before := heap()
	var s *State
	for b.Loop() {
		var err error
		if s, err = Decode(testJournal, checkpoint, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
	b.ReportMetric(float64(len(checkpoint))/1e6, "checkpoint-MB")
	runtime.KeepAlive(checkpoint)
	runtime.KeepAlive(s)
}
