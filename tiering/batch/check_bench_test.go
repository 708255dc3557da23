package batch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// jsonRecords are n records with values of about size bytes, such as services log.
func jsonRecords(n, size int, seed uint64) []batchtest.Record {
	rng := rand.New(rand.NewPCG(seed, 0))
	words := []string{"checkout", "inventory", "eu-west-1", "timeout", "accepted", "retry", "customer", "payment", "shipped", "cart"}
	records := make([]batchtest.Record, n)
	for i := range records {
		v := fmt.Appendf(nil, `{"id":"%016x","ts":%d,"user":%d,"amount":%d.%02d`, rng.Uint64(), 1_700_000_000_000+i, rng.IntN(1_000_000), rng.IntN(1000), rng.IntN(100))
		for field := 0; len(v) < size-20; field++ {
			v = fmt.Appendf(v, `,"%s_%d":"%s-%d"`, words[rng.IntN(len(words))], field, words[rng.IntN(len(words))], rng.IntN(1000))
		}
		records[i] = batchtest.Record{Key: fmt.Appendf(nil, "user-%d", rng.IntN(1_000_000)), Value: append(v, '}'), Timestamp: 1_700_000_000_000 + int64(i)}
	}
	return records
}

// cpuTime is the CPU time that this process has taken: on a busy machine it says more
// than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWalk measures how long it takes to check the records of a batch of 256 KiB, in
// CPU seconds for each GB of records, uncompressed and as stored.
func BenchmarkWalk(b *testing.B) {
	for _, codec := range []string{"none", "lz4", "zstd", "snappy", "xerial", "gzip"} {
		for _, size := range []int{200, 1024} {
			b.Run(fmt.Sprintf("%s/%d", codec, size), func(b *testing.B) {
				spec := codecs[codec]
				spec.Records = jsonRecords(256<<10/size, size, 1)
				data := batchtest.Build(spec)
				spec.Codec = batch.None
				plain := len(batchtest.Build(spec))
				h, err := batch.Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				room := batch.NewRoom(0, 4)
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					if _, err := batch.Check(context.Background(), room, data, h, anything); err != nil {
						b.Fatal(err)
					}
				}
				seconds := (cpuTime(b) - before).Seconds() / float64(b.N)
				b.ReportMetric(seconds/float64(plain)*1e9, "s/GB")
				b.ReportMetric(seconds/float64(len(data))*1e9, "s/GB-stored")
			})
		}
	}
}
