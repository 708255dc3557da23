package integration

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/segment"
)

// archiveIDs is from where on broker ids are made by nodes that read alone.
const archiveIDs = 1 << 30

// brokersAt returns the racks of the brokers that a node lists, by id.
func brokersAt(t *testing.T, node *testenv.Node) map[int32]string {
	t.Helper()
	answer := ask[*kmsg.MetadataResponse](t, client(t, node.Kafka), kmsg.NewPtrMetadataRequest())
	all := map[int32]string{}
	for _, b := range answer.Brokers {
		all[b.NodeID] = ""
		if b.Rack != nil {
			all[b.NodeID] = *b.Rack
		}
	}
	return all
}

// A fetch node is registered, and every node lists it by its id and rack. It needs to read
// only, and serves all known records without a controller, under the same id.
func TestAFetchNodeIsAMemberOfTheCluster(t *testing.T) {
	t.Parallel()
	b := minioBucket(t)
	writer := b.start(t, "--journals", "2", "--rack", "one")
	createTopic(t, writer.Kafka, "events", 2)
	limited, p := behindProxy(t, b)
	p.set(readOnly)
	reader := limited.start(t, "--roles", "fetch", "--rack", "two")
	want := map[int32]string{1: "one", 2: "two"}
	for _, node := range []*testenv.Node{writer, reader} {
		await(t, node, "both brokers", func() bool { return len(brokersAt(t, node)) == 2 })
		if got := brokersAt(t, node); got[1] != want[1] || got[2] != want[2] {
			t.Errorf("brokers %v, want %v", got, want)
		}
	}
	// A client that knows only the fetch node writes to the leader, and reads.
	written := produce(t, client(t, reader.Kafka), numbered("events", 0, "r", 100)...)
	wantRecords(t, readAll(t, reader.Kafka, "events")[0], written)
	// Each node gives producer ids, as clients ask any of them.
	ids := map[int64]bool{}
	for _, node := range []*testenv.Node{writer, reader} {
		answer := ask[*kmsg.InitProducerIDResponse](t, client(t, node.Kafka), kmsg.NewPtrInitProducerIDRequest())
		if answer.ErrorCode != 0 || answer.ProducerID <= 0 || ids[answer.ProducerID] {
			t.Errorf("%s answers error %d, producer id %d", node.Kafka, answer.ErrorCode, answer.ProducerID)
		}
		ids[answer.ProducerID] = true
	}
	// So do they with changes of configurations.
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	alter.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "events",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.message.bytes", Value: kmsg.StringPtr("54321")}},
	}}
	if answer := ask[*kmsg.IncrementalAlterConfigsResponse](t, client(t, reader.Kafka), alter); answer.Resources[0].ErrorCode != 0 {
		t.Errorf("the fetch node answers a change with error %d", answer.Resources[0].ErrorCode)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		if n := p.count(method); n != 0 {
			t.Errorf("the fetch node sent %d %s requests to the store", n, method)
		}
	}

	writer.Kill(t)
	serves := func(when string) {
		t.Helper()
		if got := brokersAt(t, reader); got[2] != "two" {
			t.Errorf("%s it lists %v", when, got)
		}
		await(t, reader, "all records, "+when, func() bool {
			got := fetchFrom(t, reader, 2, "events")
			return got.ErrorCode == 0 && got.HighWatermark == 100 && len(got.RecordBatches) > 0
		})
	}
	serves("without a controller")
	reader.Stop(t)
	reader.Restart(t)
	serves("started without a controller")
	writer.Restart(t)
	await(t, writer, "the fetch node again", func() bool { return len(brokersAt(t, writer)) == 2 })
	await(t, reader, "the leader", func() bool {
		answer := ask[*kmsg.MetadataResponse](t, client(t, reader.Kafka), kmsg.NewPtrMetadataRequest())
		return answer.Topics[0].Partitions[0].Leader == 1 && answer.Topics[0].Partitions[1].Leader == 1
	})
	wantRecords(t, readAll(t, reader.Kafka, "events")[0], written)
	reader.Stop(t)
}

// fetchFrom asks one node for the first records of partition 0.
func fetchFrom(t *testing.T, node *testenv.Node, id int32, topic string) kmsg.FetchResponseTopicPartition {
	t.Helper()
	request := fetchRequest(topic)
	c := client(t, node.Kafka, kgo.MaxVersions(kversion.V2_8_0())) // topics by their names
	answer, err := request.RequestWith(deadline(t), c.Broker(int(id)))
	if err != nil {
		t.Fatal(err)
	}
	return answer.Topics[0].Partitions[0]
}

// fetchRequest asks for the first records of partition 0 of a topic.
func fetchRequest(topic string) *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.MaxBytes, request.MaxWaitMillis = 1<<20, 1000
	in := kmsg.NewFetchRequestTopic()
	in.Topic = topic
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.PartitionMaxBytes = 1 << 20
	in.Partitions = append(in.Partitions, partition)
	request.Topics = append(request.Topics, in)
	return request
}

// An archive, and a node without the keys of the cluster, are known to no other node, and list
// only themselves.
func TestAnArchiveReadsAlone(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	writer := b.start(t)
	createTopic(t, writer.Kafka, "events", 1)
	written := produce(t, client(t, writer.Kafka), numbered("events", 0, "r", 100)...)
	alone := func(flags ...string) {
		t.Helper()
		node := b.start(t, append(flags, "--roles", "fetch")...)
		got := brokersAt(t, node)
		if len(got) != 1 || slices.Min(slices.Collect(maps.Keys(got))) < archiveIDs {
			t.Errorf("%v: it lists %v", flags, got)
		}
		wantRecords(t, readAll(t, node.Kafka, "events")[0], written)
		if got := brokersAt(t, writer); len(got) != 1 {
			t.Errorf("%v: the writer lists %v", flags, got)
		}
		node.Stop(t)
	}
	alone("--archive")
	key := filepath.Join(b.folder, filepath.FromSlash(segment.PeerKeyKey(segment.PeerFetch, 1)))
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	alone()
	writer.Kill(t)
}

// A fetch node becomes a member when the cluster is raised to the level for that.
func TestAFetchNodeBecomesAMemberWithAnUpgrade(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	writer := b.start(t, "--feature-level", "2")
	createTopic(t, writer.Kafka, "events", 1)
	writer.Stop(t)
	writer = b.start(t, "--data-dir", writer.DataDir)
	reader := b.start(t, "--roles", "fetch")
	if got := brokersAt(t, reader); len(got) != 1 || got[1] != "" {
		t.Errorf("below the level it lists %v", got)
	}
	upgrade := kmsg.NewPtrUpdateFeaturesRequest()
	upgrade.FeatureUpdates = append(upgrade.FeatureUpdates, kmsg.UpdateFeaturesRequestFeatureUpdate{
		Feature: "varve.level", MaxVersionLevel: 3, UpgradeType: 1,
	})
	if answer := ask[*kmsg.UpdateFeaturesResponse](t, client(t, writer.Kafka), upgrade); answer.ErrorCode != 0 {
		t.Fatalf("upgrade: error %d", answer.ErrorCode)
	}
	await(t, reader, "its registration", func() bool { // both begin again, and refuse connections for a moment
		answer, err := kmsg.NewPtrMetadataRequest().RequestWith(deadline(t), client(t, writer.Kafka))
		return err == nil && len(answer.Brokers) == 2
	})
}

// A fetch node that ends sends consumers back to the leader first.
func TestAFetchNodeThatEndsSendsConsumersBack(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	writer := b.start(t)
	createTopic(t, writer.Kafka, "events", 1)
	produce(t, client(t, writer.Kafka), numbered("events", 0, "r", 10)...)
	reader := b.start(t, "--roles", "fetch")
	await(t, writer, "the fetch node", func() bool { return len(brokersAt(t, writer)) == 2 })
	c := client(t, reader.Kafka, kgo.MaxVersions(kversion.V2_8_0())) // topics by their names
	request := fetchRequest("events")
	request.MaxWaitMillis = 10
	fetched := func() (*kmsg.FetchResponse, error) {
		answer, err := request.RequestWith(deadline(t), c.Broker(2))
		if err == nil && answer.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("the fetch node answers with error %d", answer.Topics[0].Partitions[0].ErrorCode)
		}
		return answer, err
	}
	if answer, err := fetched(); err != nil || answer.Topics[0].Partitions[0].PreferredReadReplica != -1 {
		t.Fatalf("while it serves: %+v (%v)", answer, err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); reader.Stop(t) }()
	defer func() { <-ended }()
	for {
		answer, err := fetched()
		switch {
		case err != nil:
			t.Fatalf("it ends, and has not sent the consumer back: %v", err)
		case answer.Topics[0].Partitions[0].PreferredReadReplica == 1:
			return
		}
	}
}
