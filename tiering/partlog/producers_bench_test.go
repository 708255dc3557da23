package partlog

import (
	"fmt"
	"math/rand/v2"
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

// BenchmarkProducerCheckpoint has so many ids in pages, uses 1,000 of them, and plans and
// encodes a checkpoint, as the leader's goroutine does. Written are the index objects and
// the checkpoint; "start" decodes it with its pages, which are in memory here.
func BenchmarkProducerCheckpoint(b *testing.B) {
	for _, n := range manyProducers {
		b.Run(fmt.Sprintf("%d ids", n), func(b *testing.B) {
			l := newLeader()
			var seq uint64
			l.State, seq, _ = withProducers(b, n)
			if ix, ok := l.PlanIndex(1); ok {
				l.Paged(ix, segment.ID{9})
			}
			if l.planProducers(DefaultProducerPaging) {
				l.pagedProducers()
			}
			b.Run("1000 changed", func(b *testing.B) {
				random, written := rand.New(rand.NewPCG(1, 1)), 0
				for b.Loop() {
					b.StopTimer()
					use(b, l.State, seq, random, 1000, n)
					seq++
					b.StartTimer()
					if l.planProducers(DefaultProducerPaging) {
						for _, o := range l.producers.Objects {
							written += len(o.Payload)
						}
					}
					written += len(l.Encode(nil, segment.ID{}, l.producers))
					if l.producers != nil {
						l.pagedProducers()
					}
				}
				b.ReportMetric(float64(written)/float64(b.N), "B/checkpoint")
			})
			payload := l.Encode(nil, segment.ID{}, nil)
			inPages := 0
			for _, p := range l.ProducerPages() {
				inPages += int(p.Length)
			}
			b.Run("start", func(b *testing.B) {
				for b.Loop() {
					if _, err := Decode(testJournal, payload, l.readPages); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(payload)+inPages)/float64(n), "B/id")
				b.ReportMetric(float64(len(l.ProducerPages())), "pages")
			})
		})
	}
}
