package kafka

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

func TestEveryKeyAndVersionIsAnsweredOrClosed(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	r := start(t, c, Config{}, c.backend())
	for key := int16(-1); key < 100; key++ {
		for _, version := range []int16{-1, 0, 1, 5, 12, 20, math.MaxInt16} {
			a := apis()[key]
			cl := r.dial(t)
			frame := append(listenertest.Head(0, key, version), 0, 0, 0, 1, 0xff, 0xff)
			if a != nil && a.Supports(version) {
				frame = listenertest.Encode(sample(key, version, topic), 1)
			}
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
			if _, err := cl.Write(frame); err != nil {
				t.Fatal(err)
			}
			if a != nil && !a.Peers && (a.Supports(version) || key == kmsg.ApiVersions.Int16()) {
				if _, _, err := cl.Frame(); err != nil {
					t.Errorf("key %d v%d: %v", key, version, err)
				}
			} else {
				cl.ExpectClosed()
			}
			cl.Close()
		}
	}
}

func TestSlowReaderIsCutOffAndHoldsLittle(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{"max.message.bytes": "8388608"})
	b := c.backend()
	for range 3 {
		big := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, strings.Repeat("x", 7<<20))})
		h, err := batch.Parse(big)
		if err != nil {
			t.Fatal(err)
		}
		key := partlog.Key{Topic: topic.ID}
		c.Append(t.Context(), ingest.AcksAll, []ingest.Batch{{Key: key, Data: big, Header: h}}, func([]ingest.Result) {})
	}
	r := start(t, c, Config{Listener: listener.Config{IdleTimeout: 200 * time.Millisecond, MinReadRate: 1 << 30}}, b)
	cl := r.dial(t)
	req := sample(1, 12, topic).(*kmsg.FetchRequest)
	req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 64<<20, 64<<20
	for i := range int32(50) {
		if _, err := cl.Write(listenertest.Encode(req, i)); err != nil {
			break // cut off already
		}
	}
	r.counts.AwaitOpen(t, 0)
	if n := r.counts.RefusedFor("slow_reader"); n != 1 {
		t.Errorf("%d clients were cut off for reading slowly", n)
	}
	if n := c.unreleased.Load(); n != 0 {
		t.Errorf("records of %d answers were not released", n)
	}
}
