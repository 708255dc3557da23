package merge

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

// BenchmarkJournal merges 128 MiB of a journal whose objects have batches of 200 partitions,
// from memory to memory, and names the processor seconds of a GB.
func BenchmarkJournal(b *testing.B) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			var used time.Duration
			var bytes int64
			for b.Loop() {
				b.StopTimer()
				w := journalOf(b, 200, 16, codec)
				w.opt.Disk = Folder(b.TempDir())
				w.lead()
				b.StartTimer()
				before := processorTime(b)
				if done, err := w.merger.Run(b.Context()); err != nil || !done {
					b.Fatal(done, err)
				}
				used += processorTime(b) - before
				bytes += w.merger.Stats().ReadBytes - w.merger.Stats().WrittenBytes
			}
			b.ReportMetric(used.Seconds()/(float64(bytes)/1e9), "cpu-s/GB")
		})
	}
}

// journalOf is a journal of objects of 8 MiB.
func journalOf(b *testing.B, partitions, objects int, codec batch.Codec) *world {
	w := newWorld(b, partitions, 1)
	w.opt.Config = Config{DueBytes: 1, JobBytes: firstScale << 30}
	words := make([]byte, 1<<20)
	for i := range words {
		words[i] = "abcdefgh"[w.rng.IntN(8)]
	}
	for range objects {
		var parts []segment.Records
		for _, k := range w.keys() {
			parts = append(parts, segment.Records{
				Partition: segment.Partition{Topic: k.Topic, Index: k.Index, LeaderEpoch: int32(w.epoch)},
				Batches:   [][]byte{w.large(w.rng, words, 8<<20/partitions, codec, w.ends[k])},
			})
			w.ends[k] += 8
		}
		w.object(segment.KindData, nil, parts)
	}
	return w
}

// large is a batch of eight records with so many bytes, once they are compressed.
func (w *world) large(rng *rand.Rand, words []byte, size int, codec batch.Codec, base int64) []byte {
	if codec != batch.None {
		size = size * 2
	}
	spec := batchtest.Spec{BaseOffset: base, LeaderEpoch: int32(w.epoch), BaseTimestamp: w.now.UnixMilli(), Codec: codec}
	for i := range int64(8) {
		at := rng.IntN(len(words) - size/8)
		spec.Records = append(spec.Records, batchtest.Record{Timestamp: spec.BaseTimestamp + i, Value: words[at:][:size/8]})
	}
	return batchtest.Build(spec)
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
