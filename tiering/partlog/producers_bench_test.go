package partlog

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// withProducers is a state with so many producer ids in one partition, with one batch
// each, that came in objects of 1,000, and the seq and offset that come next.
func withProducers(tb testing.TB, n int) (s *State, seq uint64, end int64) {
	tb.Helper()
	s = New(testJournal)
	mustApply(tb, s, data(1, 1), open(keyA, 0, 0))
	for seq = 2; int(end) < n; seq++ {
		mustApply(tb, s, objectOf(seq, end, min(1000, n-int(end)), end))
		end += 1000
	}
	return s, seq, int64(n)
}

// objectOf has so many batches from offset base on, of producers from first on.
func objectOf(seq uint64, base int64, batches int, first int64) *segment.Footer {
	r := records(keyA, 1, base, base+int64(batches)-1, 1)
	for i := range int64(batches) {
		r.Producers = append(r.Producers, segment.Producer{ID: first + i, Batches: []segment.ProducerBatch{{
			FirstSequence: int32(base), LastSequence: int32(base), BaseOffset: base + i, LastOffset: base + i, Timestamp: 1_700_000_000_000,
		}}})
	}
	return data(seq, 1, r)
}

var manyProducers = []int{1_000, 100_000, 1_000_000}

// BenchmarkProducers measures the cost of a batch: its check, and its share of an object of
// 1,000 that is applied. The ids are known.
func BenchmarkProducers(b *testing.B) {
	for _, n := range manyProducers {
		b.Run(fmt.Sprintf("%d ids", n), func(b *testing.B) {
			before := heap()
			s, seq, end := withProducers(b, n)
			perID := float64(heap()-before) / float64(n)
			ahead := NewAhead(s, keyA)
			b.Run("check", func(b *testing.B) {
				i := int64(0)
				for b.Loop() {
					_, _, _ = ahead.Check(batch.Header{ProducerID: i % int64(n), BaseSequence: 1 << 20})
					i += 7919
				}
				b.ReportMetric(perID, "B/id")
			})
			b.Run("apply", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					f := objectOf(seq, end, 1000, end%int64(n))
					seq, end = seq+1, end+1000
					b.StartTimer()
					mustApply(b, s, f)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/batch")
			})
			b.Run("expire none", func(b *testing.B) {
				for b.Loop() {
					s.parts[keyA].producers.Expire(1)
				}
			})
			runtime.KeepAlive(s)
		})
	}
}
