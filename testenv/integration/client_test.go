package integration

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// client is a franz-go client that soon notices when a node is back.
func client(t testing.TB, address string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(t testing.TB, address, topic string, partitions int32) {
	t.Helper()
	made, err := kadm.NewClient(client(t, address)).CreateTopic(deadline(t), partitions, 1, nil, topic)
	if err != nil {
		t.Fatalf("create topic %s: %v, %v", topic, err, made.Err)
	}
}

// produce writes records in order and returns them with the offsets they got.
func produce(t testing.TB, c *kgo.Client, records ...*kgo.Record) []*kgo.Record {
	t.Helper()
	for _, result := range c.ProduceSync(deadline(t), records...) {
		if result.Err != nil {
			t.Fatalf("produce to %s/%d: %v", result.Record.Topic, result.Record.Partition, result.Err)
		}
	}
	return records
}

// numbered makes n records for a partition, each with a value that no other has.
func numbered(topic string, partition int32, label string, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: partition,
			Key: fmt.Appendf(nil, "key-%d", i%7), Value: fmt.Appendf(nil, "%s-%d-%06d", label, partition, i),
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
	}
	return records
}

// ends returns the end offset of each partition of a topic. It asks again after an error that
// passes, as clients do: a leader may not have proved its head yet.
func ends(t testing.TB, address, topic string) map[int32]int64 {
	t.Helper()
	c, ctx := kadm.NewClient(client(t, address)), deadline(t)
	listed, err := c.ListEndOffsets(ctx, topic)
	for ; err == nil && kerr.IsRetriable(listed.Error()) && ctx.Err() == nil; listed, err = c.ListEndOffsets(ctx, topic) {
		time.Sleep(50 * time.Millisecond)
	}
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		t.Fatalf("list end offsets of %s: %v", topic, err)
	}
	found := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { found[o.Partition] = o.Offset })
	return found
}

// readAll reads a topic from its beginning to the ends it has now. Offsets must
// have no gap and no repetition.
func readAll(t testing.TB, address, topic string) map[int32][]*kgo.Record {
	t.Helper()
	found := map[int32][]*kgo.Record{}
	readEach(t, address, topic, func(r *kgo.Record) { found[r.Partition] = append(found[r.Partition], r) })
	return found
}

// readEach is readAll for topics too large to keep.
func readEach(t testing.TB, address, topic string, use func(*kgo.Record)) {
	t.Helper()
	wanted := ends(t, address, topic)
	from, left := map[int32]kgo.Offset{}, 0
	for partition, end := range wanted {
		from[partition] = kgo.NewOffset().At(0)
		if end > 0 {
			left++
		}
	}
	c := client(t, address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	defer c.Close()
	next := map[int32]int64{}
	ctx := deadline(t)
	for left > 0 {
		fetches := c.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			t.Fatalf("read %s/%d at %d of %d: %v", failed.Topic, failed.Partition,
				next[failed.Partition], wanted[failed.Partition], failed.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] {
				t.Fatalf("%s/%d: offset %d follows %d", topic, r.Partition, r.Offset, next[r.Partition]-1)
			}
			next[r.Partition]++
			if r.Offset < wanted[r.Partition] {
				use(r)
			}
			if next[r.Partition] == wanted[r.Partition] {
				left--
			}
		})
	}
}

// wantRecords compares the records read from a partition with those written.
func wantRecords(t testing.TB, got, want []*kgo.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if problem := difference(got[i], want[i]); problem != "" {
			t.Fatalf("record %d: %s", i, problem)
		}
	}
}

// difference describes how two records differ, apart from their offsets. Not
// all of Kafka's clients distinguish a missing header value from an empty one;
// here it must differ.
func difference(got, want *kgo.Record) string {
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	switch {
	case !same(got.Key, want.Key):
		return fmt.Sprintf("key %q, want %q", got.Key, want.Key)
	case !same(got.Value, want.Value):
		return fmt.Sprintf("value %.80q, want %.80q", got.Value, want.Value)
	case got.Timestamp.UnixMilli() != want.Timestamp.UnixMilli():
		return fmt.Sprintf("timestamp %v, want %v", got.Timestamp, want.Timestamp)
	case len(got.Headers) != len(want.Headers):
		return fmt.Sprintf("%d headers, want %d", len(got.Headers), len(want.Headers))
	}
	for i, h := range want.Headers {
		if got.Headers[i].Key != h.Key || !same(got.Headers[i].Value, h.Value) {
			return fmt.Sprintf("header %d is %q=%q, want %q=%q", i, got.Headers[i].Key, got.Headers[i].Value, h.Key, h.Value)
		}
	}
	return ""
}

// awaitCommitted waits until readers may see the records. With acks=1 that is
// later than the acknowledgement.
func awaitCommitted(t testing.TB, address, topic string, acknowledged []*kgo.Record) {
	t.Helper()
	behind := func() string {
		found := ends(t, address, topic)
		for _, r := range acknowledged {
			if end := found[r.Partition]; r.Offset >= end {
				return fmt.Sprintf("%s/%d ends at %d: the record acknowledged at %d is lost", topic, r.Partition, end, r.Offset)
			}
		}
		return ""
	}
	problem := behind()
	for end := time.Now().Add(commitPatience); problem != "" && time.Now().Before(end); problem = behind() {
		time.Sleep(10 * time.Millisecond)
	}
	if problem != "" {
		t.Fatal(problem)
	}
}

// commitPatience is a long time for one flush.
const commitPatience = 20 * time.Second

// wantAcknowledged wants every record at the offset it was acknowledged with.
func wantAcknowledged(t testing.TB, address, topic string, acknowledged []*kgo.Record) {
	t.Helper()
	awaitCommitted(t, address, topic, acknowledged)
	found := readAll(t, address, topic)
	for _, want := range acknowledged {
		log := found[want.Partition]
		if want.Offset < 0 || want.Offset >= int64(len(log)) {
			t.Fatalf("%s/%d: %d records read, none at offset %d", topic, want.Partition, len(log), want.Offset)
		}
		if problem := difference(log[want.Offset], want); problem != "" {
			t.Fatalf("%s/%d at offset %d: %s", topic, want.Partition, want.Offset, problem)
		}
	}
}

// command runs a client command of varve against a node.
func command(t testing.TB, node *testenv.Node, args ...string) testenv.Output {
	t.Helper()
	return testenv.Varve{Args: append(args, "--bootstrap", node.Kafka)}.Run(t, patience)
}

// mustRun is command for one that must succeed. It returns its output.
func mustRun(t testing.TB, node *testenv.Node, args ...string) []byte {
	t.Helper()
	out := command(t, node, args...)
	if out.Code != 0 {
		t.Fatalf("varve %q: exit code %d: %s", args, out.Code, out.Stderr)
	}
	return out.Stdout
}
