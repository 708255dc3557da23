package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// endOfEpoch asks for the end of the present leader epoch of events/0.
func endOfEpoch(t testing.TB, c *kgo.Client) int64 {
	t.Helper()
	listed, err := kadm.NewClient(c).ListStartOffsets(deadline(t), "events")
	if err != nil {
		t.Fatal(err)
	}
	start, _ := listed.Lookup("events", 0)
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.LeaderEpoch = start.LeaderEpoch
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "events", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	resp, err := req.RequestWith(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0].EndOffset
}

// TestWhatWasAcknowledgedIsThereWhenTheEndIsAskedFor uses acks=1 and a flush
// that is a minute away. Every way to ask is the first after a record of its
// own.
func TestWhatWasAcknowledgedIsThereWhenTheEndIsAskedFor(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--flush-interval", "1m")
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	admin := kadm.NewClient(c)
	listed := func(l kadm.ListedOffsets, err error) int64 {
		t.Helper()
		if err != nil || l.Error() != nil {
			t.Fatal(err, l.Error())
		}
		o, _ := l.Lookup("events", 0)
		return o.Offset
	}
	base := time.UnixMilli(1_600_000_000_000)
	at := func(offset int64) int64 { return base.Add(time.Duration(offset) * time.Second).UnixMilli() }
	var next int64
	write := func() {
		record := &kgo.Record{Topic: "events", Value: fmt.Appendf(nil, "m%d", next), Timestamp: time.UnixMilli(at(next))}
		if made := produce(t, c, record)[0]; made.Offset != next {
			t.Fatalf("record %d got offset %d", next, made.Offset)
		}
		next++
	}
	before := storeRequests(t, node)["create"]
	for _, ask := range []struct {
		name string
		end  func() int64
	}{
		{"latest", func() int64 { return listed(admin.ListEndOffsets(deadline(t), "events")) }},
		{"greatest timestamp", func() int64 { return listed(admin.ListMaxTimestampOffsets(deadline(t), "events")) + 1 }},
		{"by time", func() int64 { return listed(admin.ListOffsetsAfterMilli(deadline(t), at(next-1), "events")) + 1 }},
		{"end of the epoch", func() int64 { return endOfEpoch(t, c) }},
		{"consume --until-end", func() int64 {
			out := string(mustRun(t, node, "consume", "events", "--from", fmt.Sprint(next-1), "--until-end"))
			return next - 1 + int64(strings.Count(out, fmt.Sprintf("m%d", next-1)))
		}},
		{"delete an offset", func() int64 {
			low, err := deleteBefore(t, node.Kafka, "events", 0, next)
			if err != nil {
				t.Fatal(err)
			}
			return low
		}},
		{"delete all", func() int64 {
			low, err := deleteBefore(t, node.Kafka, "events", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			return low
		}},
	} {
		write()
		if got := ask.end(); got != next {
			t.Errorf("%s: the end is %d, want %d", ask.name, got, next)
		}
	}
	// Two for each deletion: of the records, and of the entry.
	if objects := storeRequests(t, node)["create"] - before; objects > 9 {
		t.Errorf("%v objects for 7 questions", objects)
	}
	before = storeRequests(t, node)["create"]
	for range 100 {
		listed(admin.ListEndOffsets(deadline(t), "events"))
	}
	if objects := storeRequests(t, node)["create"] - before; objects > 0 {
		t.Errorf("%v objects for questions about nothing new", objects)
	}
}
