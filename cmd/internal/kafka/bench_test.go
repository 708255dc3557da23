package kafka

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// discard acknowledges and keeps nothing.
type discard struct{ Appender }

func (discard) Append(_ context.Context, _ ingest.Acks, batches []ingest.Batch, done func([]ingest.Result)) {
	done(make([]ingest.Result, len(batches)))
}

// BenchmarkProduce is one connection with five requests in flight.
func BenchmarkProduce(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := newCluster()
			topic := c.addTopic(b, "events", 1, nil)
			backend := c.backend()
			backend.Appender = func(uint32) Appender { return discard{} }
			cl := start(b, c, Config{}, backend).dial(b)
			value := string(bytes.Repeat([]byte("x"), size-200))
			frame := listenertest.Encode(produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, value)}), 1)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			room := make(chan struct{}, 5)
			go func() {
				for range b.N {
					room <- struct{}{}
					if _, err := cl.Write(frame); err != nil {
						return
					}
				}
			}()
			for range b.N {
				if _, _, err := cl.Frame(); err != nil {
					b.Fatal(err)
				}
				<-room
			}
		})
	}
}

// BenchmarkFetchEncode is an answer for 1,000 idle partitions.
func BenchmarkFetchEncode(b *testing.B) {
	a := &fetchAnswer{version: 12, topics: []fetchedTopic{{name: "events"}}}
	for i := range int32(1000) {
		a.topics[0].partitions = append(a.topics[0].partitions, emptyPartition(i))
	}
	b.Run("varve", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a.encode(nil)
		}
	})
	b.Run("kmsg", func(b *testing.B) {
		resp := a.reference()
		b.ReportAllocs()
		for b.Loop() {
			resp.AppendTo(nil)
		}
	})
}

// BenchmarkShape is the walk before decoding a Metadata request of 1,000 topics.
func BenchmarkShape(b *testing.B) {
	req := &kmsg.MetadataRequest{Version: 12}
	for i := range 1000 {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(fmt.Sprintf("topic-%d", i))})
	}
	body := req.AppendTo(nil)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := apis()[3].Shape.Cost(body, 12, true); err != nil {
			b.Fatal(err)
		}
	}
}
