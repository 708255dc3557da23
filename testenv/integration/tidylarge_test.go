package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTenThousandPartitionsOfATrickleAreMergedInFewObjects: each has one record in a job, and
// the names of their topics are as long as they may be.
func TestTenThousandPartitionsOfATrickleAreMergedInFewObjects(t *testing.T) {
	full(t)
	t.Parallel()
	const topics, each, rounds = 40, 250, 3
	b := fileBucket(t)
	node := b.start(t, "--merge-age", "1s", "--merge-wait", "10ms", "--replaced-grace", "0s", "--freed-grace", "0s", "--verify-rate", "0")
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 60_000
	for i := range topics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = longName(i), each, 1
		create.Topics = append(create.Topics, topic)
	}
	for _, made := range dial(t, node.Kafka).ask(t, create, 7).(*kmsg.CreateTopicsResponse).Topics {
		if made.ErrorCode != 0 {
			t.Fatalf("create %s: %d", made.Topic, made.ErrorCode)
		}
	}
	c := client(t, node.Kafka)
	before := storeRequests(t, node)["create"]
	files := 0
	for round := range rounds {
		jobs := sum(t, node, "varve_merge_jobs_total")
		var records []*kgo.Record
		for i := range topics {
			for p := range int32(each) {
				records = append(records, &kgo.Record{Topic: longName(i), Partition: p, Value: fmt.Appendf(nil, "%d", round)})
			}
		}
		produce(t, c, records...)
		await(t, node, "the records are merged", func() bool {
			found, _ := filepath.Glob(filepath.Join(node.DataDir, "merge", "1", "*"))
			files = max(files, len(found))
			return sum(t, node, "varve_merge_jobs_total") > jobs && sum(t, node, "varve_merge_debt_bytes") == 0
		})
	}
	puts, outputs := storeRequests(t, node)["create"]-before, sum(t, node, "varve_tiering_puts_total")
	rss := sum(t, node, "process_resident_memory_bytes")
	t.Logf("%v PUTs, %v of merged objects, %v jobs, at most %d files at a time, %.0f MiB of memory", puts, outputs, sum(t, node, "varve_merge_jobs_total"), files, rss/(1<<20))
	if outputs > 10*rounds || puts > 60*rounds || files > 8 || rss > mostMemory {
		t.Error("these are too many")
	}
	for i := 0; i < topics; i += 13 {
		for p, records := range readAll(t, node.Kafka, longName(i)) {
			if len(records) != rounds || string(records[rounds-1].Value) != fmt.Sprint(rounds-1) {
				t.Fatalf("partition %d of topic %d has %d records", p, i, len(records))
			}
		}
	}
	node.Kill(t)
	began := time.Now()
	node = b.startFresh(t, node)
	t.Logf("ready after %v from the bucket alone", time.Since(began))
	if n := len(readAll(t, node.Kafka, longName(7))); n != each {
		t.Errorf("%d partitions have records, want %d", n, each)
	}
	node.Stop(t)
	b.verified(t)
}

// longName is a name as long as a topic's may be.
func longName(i int) string { return strings.Repeat("n", 246) + fmt.Sprintf("%03d", i) }
