package integration

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClientsThatHoldMemoryStopNoOther: 64 connections announce requests of 100
// MiB, send a part and no more. Others write and read all the time. The node
// takes no more memory than the sum of its budgets.
func TestClientsThatHoldMemoryStopNoOther(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	var written []*kgo.Record
	for i, sent := range []int{8, 64 << 10, 1 << 20, 3 << 20} {
		head := append(binary.BigEndian.AppendUint32(nil, 100<<20), frame(0, 9)[4:]...)
		body := append(head, make([]byte, sent)...)[:max(sent, len(head))]
		for range 64 {
			c := dial(t, node.Kafka)
			go c.Write(body)
		}
		written = append(written, produce(t, client(t, node.Kafka), numbered("events", 0, "during", 20+i)...)...)
		wantRecords(t, readAll(t, node.Kafka, "events")[0], written)
	}
	if rss, found := metric(t, node, "process_resident_memory_bytes"); !found || rss > mostMemory {
		t.Errorf("the node takes %.0f MiB of memory (found: %t)", rss/(1<<20), found)
	} else {
		t.Logf("the node takes %.0f MiB of memory", rss/(1<<20))
	}
}

// TestConsumersThatDoNotReadStopNoOther: six connections fetch 50 MiB and do not
// read it, which is more than the node holds for answers.
func TestConsumersThatDoNotReadStopNoOther(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	records := numbered("events", 0, "bulk", 64)
	for _, r := range records {
		r.Value = append(r.Value, make([]byte, 900<<10)...)
	}
	c := client(t, node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1<<20))
	written := produce(t, c, records...)
	awaitCommitted(t, node.Kafka, "events", written)
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(4)
	fetch.MaxBytes, fetch.MaxWaitMillis, fetch.MinBytes = 55<<20, 500, 1
	fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "events", Partitions: []kmsg.FetchRequestTopicPartition{{PartitionMaxBytes: 55 << 20}}}}
	for range 6 {
		if _, err := dial(t, node.Kafka).Write(kmsg.NewRequestFormatter().AppendRequest(nil, fetch, 1)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second) // until they hold all of the budget
	reader := client(t, node.Kafka, kgo.FetchMaxPartitionBytes(50<<20), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		"events": {0: kgo.NewOffset().AtStart()},
	}))
	var got []*kgo.Record
	for len(got) < len(written) {
		fetches := reader.PollFetches(deadline(t))
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d of %d records: %v", len(got), len(written), err)
		}
		got = append(got, fetches.Records()...)
	}
	wantRecords(t, got, written)
	if _, cut := metric(t, node, "varve_kafka_connections_refused_total", "takes_slowly"); !cut {
		t.Error("nothing that is not read was cut")
	}
}
