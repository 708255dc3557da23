package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFranzGoWritesAndReadsBack runs a real client: idempotent producer with
// every compression, and a consumer from the start and from an offset.
func TestFranzGoWritesAndReadsBack(t *testing.T) {
	c := newCluster()
	c.now = time.Now()
	r := start(t, c, Config{AutoCreateTopics: true}, c.backend())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	const n = 2000
	for name, codec := range codecs {
		cl, err := kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic(name), kgo.ProducerBatchCompression(codec))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			cl.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "%s %d", name, i)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		if err := cl.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		cl.Close()
		readBack(ctx, t, r.addr, name, 0, n)
		readBack(ctx, t, r.addr, name, n/2, n)
	}
}

func readBack(ctx context.Context, t *testing.T, addr, topic string, from, to int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {0: kgo.NewOffset().At(from)},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for next := from; next < to; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := fmt.Sprintf("%s %d", topic, next); r.Offset != next || string(r.Value) != want {
				t.Fatalf("offset %d holds %q, want %d and %q", r.Offset, r.Value, next, want)
			}
			next++
		})
	}
}
