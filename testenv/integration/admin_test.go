package integration

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
)

// administered is a node that is killed after each administrative call: its
// answer must still hold after the restart.
type administered struct {
	t    *testing.T
	node *testenv.Node
}

func (a administered) admin() *kadm.Client { return kadm.NewClient(client(a.t, a.node.Kafka)) }

// kill ends the node as kill -9 does, and starts it again.
func (a administered) kill() {
	a.t.Helper()
	a.node.Kill(a.t)
	a.node.Restart(a.t)
}

func (a administered) config(topic, name string) kadm.Config {
	a.t.Helper()
	described, err := a.admin().DescribeTopicConfigs(deadline(a.t), topic)
	if err != nil {
		a.t.Fatal(err)
	}
	resource, err := described.On(topic, nil)
	if err != nil || resource.Err != nil {
		a.t.Fatal(err, resource.Err)
	}
	i := slices.IndexFunc(resource.Configs, func(c kadm.Config) bool { return c.Key == name })
	if i < 0 {
		a.t.Fatalf("config %s is not described", name)
	}
	return resource.Configs[i]
}

// starts returns the first offsets of a topic's partitions.
func starts(t testing.TB, address, topic string) map[int32]int64 {
	t.Helper()
	listed, err := kadm.NewClient(client(t, address)).ListStartOffsets(deadline(t), topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		t.Fatalf("list start offsets of %s: %v", topic, err)
	}
	found := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { found[o.Partition] = o.Offset })
	return found
}

// deleteBefore deletes the records of a partition before an offset.
func deleteBefore(t testing.TB, address, topic string, partition int32, before int64) (low int64, err error) {
	t.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	deleted, err := kadm.NewClient(client(t, address)).DeleteRecords(deadline(t), offsets)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := deleted.Lookup(topic, partition)
	return answer.LowWatermark, answer.Err
}

func TestAnsweredAdminCallsOutliveAKill(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		a := administered{t, b.start(t)}
		ctx := deadline(t)
		createTopic(t, a.node.Kafka, "events", 1)
		a.kill()

		if made, err := a.admin().UpdatePartitions(ctx, 4, "events"); err != nil || made.Error() != nil {
			t.Fatal(err, made.Error())
		}
		a.kill()
		listed, err := a.admin().ListTopics(ctx)
		if err != nil || len(listed["events"].Partitions) != 4 || listed["events"].Partitions[3].Leader < 0 {
			t.Fatalf("%+v, %v", listed["events"], err)
		}
		produce(t, client(t, a.node.Kafka), numbered("events", 3, "new", 10)...)

		value := "86400000"
		altered, err := a.admin().AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, "events")
		if err != nil || altered[0].Err != nil {
			t.Fatal(err, altered)
		}
		a.kill()
		if c := a.config("events", "retention.ms"); *c.Value != value || c.Source.String() != "DYNAMIC_TOPIC_CONFIG" {
			t.Errorf("retention.ms is %s (%s)", *c.Value, c.Source)
		}
		small := "1000"
		altered, err = a.admin().AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: &small}}, "events")
		if err != nil || altered[0].Err != nil {
			t.Fatal(err, altered)
		}
		a.kill()
		if c := a.config("events", "retention.ms"); *c.Value != "-1" {
			t.Errorf("retention.ms is %s after all configs were replaced", *c.Value)
		}
		large := &kgo.Record{Topic: "events", Value: []byte(strings.Repeat("x", 5000))}
		if err := client(t, a.node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression())).ProduceSync(ctx, large).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("a record above max.message.bytes: %v", err)
		}

		if low, err := deleteBefore(t, a.node.Kafka, "events", 3, 4); err != nil || low != 4 {
			t.Fatalf("low watermark %d, %v", low, err)
		}
		a.kill()
		wantStart(t, a.node.Kafka, "events", 3, 4, 10)
	})
}

// wantStart wants a partition to begin and end at these offsets, by every
// request for them.
func wantStart(t *testing.T, address, topic string, partition int32, start, end int64) {
	t.Helper()
	if got := starts(t, address, topic)[partition]; got != start {
		t.Errorf("%s/%d starts at %d, want %d", topic, partition, got, start)
	}
	if got := ends(t, address, topic)[partition]; got != end {
		t.Errorf("%s/%d ends at %d, want %d", topic, partition, got, end)
	}
	reset := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	read := func(at kgo.Offset, options ...kgo.Opt) kgo.Fetches {
		c := client(t, address, append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: at}}))...)
		defer c.Close()
		return c.PollFetches(deadline(t))
	}
	if start < end {
		if r := read(kgo.NewOffset().AtStart(), reset).Records(); len(r) == 0 || r[0].Offset != start {
			t.Errorf("%s/%d: a consumer from the start gets %d records, not from offset %d on", topic, partition, len(r), start)
		}
		if r := read(kgo.NewOffset().At(0), reset).Records(); len(r) == 0 || r[0].Offset != start {
			t.Errorf("%s/%d: a consumer at a deleted offset is not sent to the start", topic, partition)
		}
	}
	if start > 0 {
		never := kgo.ConsumeResetOffset(kgo.NoResetOffset())
		if err := read(kgo.NewOffset().At(start-1), never).Err(); !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Errorf("%s/%d: reading a deleted record: %v", topic, partition, err)
		}
	}
}

func TestDeletedRecordsStayDeletedForEveryClient(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		checkpoints := []string{"--checkpoint-objects", "16"}
		node := b.start(t, checkpoints...)
		createTopic(t, node.Kafka, "events", 2)
		reader := b.start(t, "--roles", "fetch", "--archive")
		awaitTopic(t, reader, "events")
		written := produce(t, client(t, node.Kafka), numbered("events", 0, "first", 20)...)
		for _, before := range []int64{7, 3} {
			if low, err := deleteBefore(t, node.Kafka, "events", 0, before); err != nil || low != 7 {
				t.Fatalf("before %d: low watermark %d, %v, want 7", before, low, err)
			}
		}
		for _, bad := range []int64{21, 1 << 40, -2} {
			if _, err := deleteBefore(t, node.Kafka, "events", 0, bad); !errors.Is(err, kerr.OffsetOutOfRange) {
				t.Errorf("before %d: %v", bad, err)
			}
		}
		if _, err := deleteBefore(t, reader.Kafka, "events", 0, 8); !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("at a node that only reads: %v", err)
		}
		// The start that a fetch node returns is of a proved head, however far
		// it lagged before.
		wantStart(t, reader.Kafka, "events", 0, 7, 20)
		wantStart(t, node.Kafka, "events", 0, 7, 20)
		found := map[int32][]*kgo.Record{}
		reads := client(t, node.Kafka, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"events": {0: kgo.NewOffset().At(7)}}))
		for ctx := deadline(t); len(found[0]) < 13; {
			reads.PollFetches(ctx).EachRecord(func(r *kgo.Record) { found[0] = append(found[0], r) })
			if ctx.Err() != nil {
				t.Fatalf("%d records left, want 13", len(found[0]))
			}
		}
		wantRecords(t, found[0], written[7:])

		if low, err := deleteBefore(t, node.Kafka, "events", 0, -1); err != nil || low != 20 {
			t.Fatalf("all: low watermark %d, %v", low, err)
		}
		for range 40 { // objects, so that the next start reads the deletion from a checkpoint
			produce(t, client(t, node.Kafka), numbered("events", 1, "other", 1)...)
		}
		node.Kill(t)
		node = b.startFresh(t, node, checkpoints...)
		wantStart(t, node.Kafka, "events", 0, 20, 20)
		wantStart(t, reader.Kafka, "events", 0, 20, 20)
		if r := produce(t, client(t, node.Kafka), numbered("events", 0, "later", 1)...); r[0].Offset != 20 {
			t.Errorf("the next record is at offset %d", r[0].Offset)
		}
		out := testenv.Varve{Args: []string{"bucket", "verify", "--bucket", b.url}, Env: b.env}.Run(t, patience)
		if out.Code != 0 {
			t.Errorf("bucket verify: exit code %d\n%s%s", out.Code, out.Stdout, out.Stderr)
		}
	})
}

func TestToolsAreAnsweredThatAskAboutBrokers(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	createTopic(t, node.Kafka, "events", 2)
	produce(t, client(t, node.Kafka), numbered("events", 1, "x", 100)...)
	admin, ctx := kadm.NewClient(client(t, node.Kafka)), deadline(t)
	dirs, err := admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[int32]int64{}
	for _, dir := range dirs[1].Sorted() {
		if dir.Dir != b.url || dir.Err != nil {
			t.Errorf("directory is %q, %v, want the bucket", dir.Dir, dir.Err)
		}
		for _, p := range dir.Topics["events"] {
			sizes[p.Partition] = p.Size
		}
	}
	if len(sizes) != 2 || sizes[0] != 0 || sizes[1] < 1000 {
		t.Errorf("sizes %v", sizes)
	}
	moving, err := admin.ListPartitionReassignments(ctx, nil)
	if err != nil || len(moving.Sorted()) != 0 {
		t.Errorf("reassignments %v, %v", moving, err)
	}
	if elected, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{"events": {0: {}}}); err != nil || !errors.Is(elected["events"][0].Err, kerr.ElectionNotNeeded) {
		t.Errorf("election: %+v, %v", elected, err)
	}
	if _, err := admin.DescribeACLs(ctx, kadm.NewACLs().AnyResource().Allow().Deny().Operations()); err != nil && !errors.Is(err, kerr.SecurityDisabled) {
		t.Errorf("ACLs: %v", err)
	}
	value := "9"
	altered, err := admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "num.partitions", Value: &value}})
	if err != nil || !errors.Is(altered[0].Err, kerr.InvalidRequest) || !strings.Contains(altered[0].ErrMessage, "--default-partitions") {
		t.Errorf("altered broker: %+v, %v", altered, err)
	}
	altered, err = admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.msec", Value: &value}}, "events")
	if err != nil || !errors.Is(altered[0].Err, kerr.InvalidConfig) || !strings.Contains(altered[0].ErrMessage, "retention.msec") {
		t.Errorf("unknown config: %+v, %v", altered, err)
	}
}

// TestPartitionsThatCouldNotBeOpenedAreOpenedLater keeps the data journal from
// being written, so that the metadata has partitions which the journal does not.
func TestPartitionsThatCouldNotBeOpenedAreOpenedLater(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"in the background", "after a kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			b, p := behindProxy(t, minioBucket(t))
			node := b.start(t)
			createTopic(t, node.Kafka, "events", 1)
			p.set(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
				if !reads(r) && strings.Contains(r.URL.Path, "/journals/1/") {
					readOnly(w, r, pass)
					return
				}
				pass(w)
			})
			admin := kadm.NewClient(client(t, node.Kafka))
			admin.SetTimeoutMillis(1500)
			made, err := admin.UpdatePartitions(deadline(t), 3, "events")
			if err != nil || !errors.Is(made["events"].Err, kerr.RequestTimedOut) {
				t.Fatalf("%+v, %v, want a time-out", made, err)
			}
			listed, err := admin.ListTopics(deadline(t))
			if err != nil || len(listed["events"].Partitions) != 3 || listed["events"].Partitions[2].Leader >= 0 {
				t.Fatalf("%+v, %v, want partitions without a leader", listed["events"], err)
			}
			if how == "after a kill" {
				node.Kill(t)
			}
			p.set(nil)
			if how == "after a kill" {
				node.Restart(t)
			}
			produce(t, client(t, node.Kafka), numbered("events", 2, "x", 10)...)
			if made, err := admin.UpdatePartitions(deadline(t), 3, "events"); err != nil || !errors.Is(made["events"].Err, kerr.InvalidPartitions) {
				t.Errorf("asked again: %+v, %v", made, err)
			}
		})
	}
}

// TestTopicsWhoseCreationWasNotKnownAreOpenedLater keeps the metadata journal
// from being written. The topics are created after their clients got an error
// that leaves the outcome open.
func TestTopicsWhoseCreationWasNotKnownAreOpenedLater(t *testing.T) {
	t.Parallel()
	b, p := behindProxy(t, minioBucket(t))
	node := b.start(t)
	p.set(func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
		if !reads(r) && strings.Contains(r.URL.Path, "/journals/0/") {
			readOnly(w, r, pass)
			return
		}
		pass(w)
	})
	admin := kadm.NewClient(client(t, node.Kafka))
	admin.SetTimeoutMillis(1500)
	if _, err := admin.CreateTopic(deadline(t), 3, 1, nil, "events"); !errors.Is(err, kerr.RequestTimedOut) {
		t.Fatalf("%v, want a time-out", err)
	}
	hasty, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // hangs up while its coordinator is made
	if found := kadm.NewClient(client(t, node.Kafka)).FindGroupCoordinators(hasty, "readers"); found.Error() == nil {
		t.Fatalf("%+v, want no coordinator", found)
	}
	cancel()
	p.set(nil)
	produce(t, client(t, node.Kafka, kgo.UnknownTopicRetries(-1)), numbered("events", 2, "x", 10)...)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "events", Partition: 2, At: 7, LeaderEpoch: -1})
	if err := kadm.NewClient(client(t, node.Kafka)).CommitAllOffsets(deadline(t), "readers", offsets); err != nil {
		t.Errorf("commit: %v", err)
	}
}
