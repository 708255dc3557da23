package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// commitRequest commits one offset for each of the first partitions of a topic, as a
// consumer without a group's membership does.
func commitRequest(group, topic string, partitions int, offset int64, text string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	for p := range partitions {
		c := kmsg.NewOffsetCommitRequestTopicPartition()
		c.Partition, c.Offset, c.Metadata = int32(p), offset, &text
		t.Partitions = append(t.Partitions, c)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// byName is a client that names topics when it commits, as those before KIP-848.
func byName(t testing.TB, address string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.OffsetCommit.Int16(), 9)
	return client(t, address, append(options, kgo.MaxVersions(versions))...)
}

// committed returns nil if all offsets were committed.
func committed(resp kmsg.Response, err error) error {
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// offsetsOf returns a group's committed offsets, by partition. It waits for a
// coordinator that is loading.
func offsetsOf(t testing.TB, address, group string) map[int32]kadm.Offset {
	t.Helper()
	got, err := kadm.NewClient(client(t, address)).FetchOffsets(deadline(t), group)
	if err == nil {
		err = got.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	offsets := map[int32]kadm.Offset{}
	got.Each(func(o kadm.OffsetResponse) { offsets[o.Partition] = o.Offset })
	return offsets
}

// TestCoordinatorLoadIsBounded: however much a group has committed, a start
// reads the coordinator's snapshot in the journal's checkpoint and the records
// since.
func TestCoordinatorLoadIsBounded(t *testing.T) {
	full(t)
	t.Parallel()
	b := fileBucket(t)
	args := []string{"--flush-interval", "1ms", "--checkpoint-objects", "255"} // checkpoints without a pause between them
	node := b.start(t, args...)
	createTopic(t, node.Kafka, "events", 20)
	c := byName(t, node.Kafka)
	const rounds, partitions = 700, 20
	text := strings.Repeat("t", 1000)
	for i := range rounds {
		if err := committed(c.Request(deadline(t), commitRequest("readers", "events", partitions, int64(i), text))); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	for name, again := range map[string]func(){
		"killed":                  func() { node.Kill(t); node.Restart(t) },
		"killed, its folder lost": func() { node.Kill(t); node = b.startFresh(t, node, args...) },
	} {
		again()
		offsets := offsetsOf(t, node.Kafka, "readers")
		for p := range int32(partitions) {
			if o := offsets[p]; o.At != rounds-1 || o.Metadata != text {
				t.Fatalf("%s: partition %d has offset %d", name, p, o.At)
			}
		}
		read, _ := metric(t, node, "varve_coordinator_loaded_bytes_total")
		const all = rounds * partitions * 1000
		t.Logf("%s: read %.0f KiB of %d KiB of records", name, read/1024, all/1024)
		if read == 0 || read > all/2 { // two checkpoints were due since the beginning
			t.Errorf("%s: read %.0f bytes of records, %d were written", name, read, all)
		}
	}
}

func TestConsumerOffsetsIsForReadingOnly(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	c := byName(t, node.Kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("__consumer_offsets"))
	if err := committed(c.Request(deadline(t), commitRequest("readers", "events", 1, 7, ""))); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(c)
	topics, err := admin.ListTopicsWithInternal(deadline(t), "__consumer_offsets")
	if err != nil || !topics["__consumer_offsets"].IsInternal || len(topics["__consumer_offsets"].Partitions) != 50 {
		t.Fatalf("%+v, %v", topics, err)
	}
	if err := c.ProduceSync(deadline(t), &kgo.Record{Key: []byte("k")}).FirstErr(); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("produce: %v", err)
	}
	if _, err := admin.DeleteTopic(deadline(t), "__consumer_offsets"); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("delete: %v", err)
	}
	reader := client(t, node.Kafka, kgo.ConsumeTopics("__consumer_offsets"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	records := reader.PollRecords(deadline(t), 1).Records()
	if len(records) != 1 || !strings.Contains(string(records[0].Key), "readers") {
		t.Errorf("records of the topic: %v", records)
	}
}

func TestConsumerOffsetsIsNotMadeByClients(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	admin := kadm.NewClient(client(t, node.Kafka))
	if _, err := admin.CreateTopic(deadline(t), 1, 1, nil, "__consumer_offsets"); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("create: %v", err)
	}
	if _, err := admin.CreateTopic(deadline(t), 1, 1, nil, "events"); err != nil {
		t.Error(err)
	}
}

// BenchmarkOffsetCommit commits one offset a request, by many clients with a
// group each, each with many requests under way.
func BenchmarkOffsetCommit(b *testing.B) {
	for _, c := range []struct{ groups, inFlight int }{{1, 1}, {1, 100}, {20, 1}, {20, 50}} {
		b.Run(fmt.Sprintf("groups=%d/inflight=%d", c.groups, c.inFlight), func(b *testing.B) {
			node := fileBucket(b).start(b)
			benchmarkCommits(b, node.Kafka, c.groups, c.inFlight)
		})
	}
}

func benchmarkCommits(b *testing.B, address string, groups, inFlight int) {
	createTopic(b, address, "events", 1)
	clients := make([]*kgo.Broker, groups)
	for i := range clients {
		c := byName(b, address)
		if err := committed(c.Request(deadline(b), commitRequest(fmt.Sprint("group", i), "events", 1, 0, ""))); err != nil {
			b.Fatal(err)
		}
		clients[i] = c.Broker(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var mu sync.Mutex
	next := 0
	var waited time.Duration
	take := func(took time.Duration) bool {
		mu.Lock()
		defer mu.Unlock()
		next++
		waited += took
		return next <= b.N
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range groups * inFlight {
		wg.Go(func() {
			g := i % groups
			took := time.Duration(0)
			for take(took) {
				begin := time.Now()
				if err := committed(clients[g].Request(ctx, commitRequest(fmt.Sprint("group", g), "events", 1, int64(i), ""))); err != nil {
					b.Error(err)
					return
				}
				took = time.Since(begin)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
	b.ReportMetric(waited.Seconds()*1000/float64(b.N), "ms/commit")
}

// BenchmarkCoordinatorLoad starts a node again and again after a million commits.
func BenchmarkCoordinatorLoad(b *testing.B) {
	node := fileBucket(b).start(b)
	createTopic(b, node.Kafka, "events", 1000)
	c := byName(b, node.Kafka)
	if err := committed(c.Request(deadline(b), commitRequest("readers", "events", 1, 0, ""))); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 250 {
				if err := committed(c.Broker(1).Request(ctx, commitRequest("readers", "events", 1000, int64(i), ""))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ResetTimer()
	for b.Loop() {
		node.Kill(b)
		node.Restart(b)
		offsetsOf(b, node.Kafka, "readers")
	}
	for _, name := range []string{"varve_coordinator_load_seconds", "varve_coordinator_loaded_bytes_total"} {
		value, _ := metric(b, node, name)
		b.ReportMetric(value, strings.TrimPrefix(name, "varve_coordinator_"))
	}
}
