package partlog

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

// history applies so many objects with records of 12 partitions and a producer
// each, and pages every so many if that is not zero.
func history(b *testing.B, objects, every int64) *State {
	b.Helper()
	const parts = 12
	s := New(testJournal)
	var opens []segment.Entry
	for i := range int32(parts) {
		opens = append(opens, open(Key{testTopic, i}, 0, 0))
	}
	mustApply(b, s, data(1, 1), opens...)
	for n := range objects {
		var all []segment.Partition
		for i := range int32(parts) {
			r := records(Key{testTopic, i}, 1, n*100, n*100+99, 1_700_000_000_000+n*250)
			r.Producers = []segment.Producer{{ID: int64(i), Batches: []segment.ProducerBatch{{BaseOffset: n * 100, LastOffset: n*100 + 99}}}}
			all = append(all, r)
		}
		mustApply(b, s, data(uint64(n)+2, 1, all...))
		if every > 0 && (n+1)%every == 0 {
			if ix, ok := s.PlanIndex(128); ok {
				s.Paged(ix, segment.NewID())
			}
		}
	}
	return s
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // the memory of pools goes with the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkCheckpoint measures a state of 1.2 million refs.
func BenchmarkCheckpoint(b *testing.B) {
	for _, every := range []int64{0, 256} {
		b.Run(fmt.Sprintf("paged every %d", every), func(b *testing.B) {
			before := heap()
			s := history(b, 100_000, every)
			after := heap()
			payload := s.Encode(nil, segment.ID{}, nil)
			b.Run("encode", func(b *testing.B) {
				for b.Loop() {
					s.Encode(nil, segment.ID{}, nil)
				}
				b.ReportMetric(float64(after-before)/1e6, "heap-MB")
				b.ReportMetric(float64(len(payload))/1e6, "payload-MB")
			})
			b.Run("decode", func(b *testing.B) {
				for b.Loop() {
					if _, err := Decode(testJournal, payload, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
			runtime.KeepAlive(s)
		})
	}
}

func BenchmarkDecodePage(b *testing.B) {
	l := long(b, chunkRefs)
	l.plan(1)
	payload := l.objects[l.object]
	l.paged()
	_, page, _, _ := l.Find(keyA, 0, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodePage(page, payload); err != nil {
			b.Fatal(err)
		}
	}
}
