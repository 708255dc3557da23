package wal_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/ingest/wal"
	"github.com/varvelog/varve/tiering/segment"
)

func benchLog(b *testing.B) *wal.Log {
	opt := options(wal.OS{})
	opt.Dir, opt.SegmentBytes = b.TempDir()+"/wal/7", 0
	return mustOpen(b, opt)
}

// One owner appends for many waiters, each of which has one record of 1 KiB
// under way at a time. It measures the cost of acks=1.
func BenchmarkGroupCommit(b *testing.B) {
	for _, waiters := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(waiters), func(b *testing.B) {
			l := benchLog(b)
			batch := make([]byte, 1<<10)
			sent := make([]time.Time, 0, b.N) // by LSN-1
			took := make([]time.Duration, 0, b.N)
			recs := make([]wal.Record, waiters)
			b.SetBytes(1 << 10)
			b.ResetTimer()
			for len(took) < b.N {
				for range int(l.SyncedLSN()) - len(took) {
					took = append(took, time.Since(sent[len(took)]))
				}
				n := min(b.N-len(sent), waiters-(len(sent)-len(took)))
				if n > 0 {
					for i := range recs[:n] {
						recs[i] = wal.Record{Epoch: 1, Batch: batch}
						sent = append(sent, time.Now())
					}
					last, err := l.Append(recs[:n])
					if err != nil {
						b.Fatal(err)
					}
					l.Sync(last)
				}
				if len(took) < b.N {
					<-l.Synced()
				}
				l.Release(l.SyncedLSN())
			}
			b.StopTimer()
			mustClose(b, l)
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-µs")
		})
	}
}

// No appender waits for the disk. It measures the cost of acks=all.
func BenchmarkUnsyncedAppend(b *testing.B) {
	for _, size := range []int{200, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := benchLog(b)
			recs := make([]wal.Record, max(1, 256<<10/size))
			for i := range recs {
				recs[i] = wal.Record{Topic: segment.ID{1}, Epoch: 1, Batch: make([]byte, size)}
			}
			b.SetBytes(int64(size))
			b.ResetTimer()
			for n := 0; n < b.N; n += len(recs) {
				last, err := l.Append(recs)
				if err != nil {
					b.Fatal(err)
				}
				l.Release(last - uint64(min(int(last), 4*len(recs)))) // as by a flush that keeps up
				for l.Unwritten() > 96<<20 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			mustClose(b, l)
			b.StopTimer()
		})
	}
}
