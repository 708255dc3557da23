package integration

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestARequestForManyPartitionsLooksOnceAtTheStore counts the requests to the store that
// answers about the ends of 1,000 partitions cost, which live in one journal.
func TestARequestForManyPartitionsLooksOnceAtTheStore(t *testing.T) {
	t.Parallel()
	const partitions = 1000
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", partitions)
	produce(t, client(t, node.Kafka), numbered("events", 0, "m", 10)...)
	c := dial(t, node.Kafka)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey = "g"
	for c.ask(t, find, 2).(*kmsg.FindCoordinatorResponse).ErrorCode != 0 {
	}
	settled(t, node)
	for name, ask := range map[string]struct {
		ask   func(t *testing.T, c connection)
		looks float64
	}{
		"latest":        {func(t *testing.T, c connection) { listAll(t, c, -1, partitions) }, 1},
		"earliest":      {func(t *testing.T, c connection) { listAll(t, c, -2, partitions) }, 1},
		"time":          {func(t *testing.T, c connection) { listAll(t, c, 1<<50, partitions) }, 1},
		"epochs":        {func(t *testing.T, c connection) { endAll(t, c, partitions) }, 1},
		"out of range":  {func(t *testing.T, c connection) { fetchAll(t, c, partitions) }, 1},
		"cannot delete": {func(t *testing.T, c connection) { deleteAll(t, c, partitions) }, 1},
		"groups":        {committedOfAll, 1},
	} {
		before := storeRequests(t, node)
		ask.ask(t, c)
		after := storeRequests(t, node)
		gets := after["get"] + after["get_range"] + after["get_tail"] - before["get"] - before["get_range"] - before["get_tail"]
		if after["create"] != before["create"] || gets < 1 || gets > ask.looks {
			t.Errorf("%s: %v GETs, want at most %v and no PUT: from %v to %v", name, gets, ask.looks, before, after)
		}
	}
}

func listAll(t *testing.T, c connection, timestamp int64, partitions int32) {
	req := kmsg.NewPtrListOffsetsRequest()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = "events"
	for i := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, timestamp
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = []kmsg.ListOffsetsRequestTopic{topic}
	for _, p := range c.ask(t, req, 7).(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		want := int64(-1)
		if p.Partition == 0 && timestamp == -1 {
			want = 10
		} else if timestamp < 0 {
			want = 0
		}
		if p.ErrorCode != 0 || p.Offset != want {
			t.Fatalf("timestamp %d: %+v, want offset %d", timestamp, p, want)
		}
	}
}

func endAll(t *testing.T, c connection, partitions int32) {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
	topic.Topic = "events"
	for i := range partitions {
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.LeaderEpoch = i, 1
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{topic}
	for _, p := range c.ask(t, req, 3).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions {
		if p.ErrorCode != 0 || p.Partition == 0 && p.EndOffset != 10 {
			t.Fatalf("%+v", p)
		}
	}
}

func fetchAll(t *testing.T, c connection, partitions int32) {
	const outOfRange = 1
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "events"
	for i := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = i, 99, 1<<20
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	for _, p := range c.ask(t, req, 11).(*kmsg.FetchResponse).Topics[0].Partitions {
		if p.ErrorCode != outOfRange {
			t.Fatalf("%+v", p)
		}
	}
}

func deleteAll(t *testing.T, c connection, partitions int32) {
	const outOfRange = 1
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = "events"
	for i := range partitions {
		topic.Partitions = append(topic.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: i, Offset: 99})
	}
	req.Topics = []kmsg.DeleteRecordsRequestTopic{topic}
	for _, p := range c.ask(t, req, 1).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions {
		if p.ErrorCode != outOfRange {
			t.Fatalf("%+v", p)
		}
	}
}

// committedOfAll asks for the offsets of groups of all coordinators.
func committedOfAll(t *testing.T, c connection) {
	req := kmsg.NewPtrOffsetFetchRequest()
	for i := range 300 {
		req.Groups = append(req.Groups, kmsg.OffsetFetchRequestGroup{Group: fmt.Sprint("g", i)})
	}
	for _, g := range c.ask(t, req, 8).(*kmsg.OffsetFetchResponse).Groups {
		if g.ErrorCode != 0 {
			t.Fatalf("%+v", g)
		}
	}
}
