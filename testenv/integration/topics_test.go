package integration

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTopicsAreCreatedListedDescribedAndDeleted(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--auto-create-topics=false")
	admin := kadm.NewClient(client(t, node.Kafka))
	ctx := deadline(t)
	if _, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("86400000")}, "by-kadm"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, node, "topic", "create", "by-varve", "--partitions", "5")
	listed, err := admin.ListTopics(ctx)
	if err != nil || len(listed) != 2 || len(listed["by-kadm"].Partitions) != 3 || len(listed["by-varve"].Partitions) != 5 {
		t.Errorf("kadm lists %v, %v", listed, err)
	}
	if out := string(mustRun(t, node, "topic", "list")); !strings.Contains(out, "by-kadm") || !strings.Contains(out, "by-varve") {
		t.Errorf("varve lists:\n%s", out)
	}
	if out := string(mustRun(t, node, "topic", "describe", "by-kadm")); !strings.Contains(out, "retention.ms") || !strings.Contains(out, "86400000") {
		t.Errorf("varve describes by-kadm as:\n%s", out)
	}
	for name, test := range map[string]struct {
		partitions int32
		replicas   int16
		topic      string
		want       *kerr.Error
	}{
		"exists":                {1, 1, "by-kadm", kerr.TopicAlreadyExists},
		"no partitions":         {0, 1, "none", kerr.InvalidPartitions},
		"invalid name":          {1, 1, "a/b", kerr.InvalidTopicException},
		"name of dots":          {1, 1, "..", kerr.InvalidTopicException},
		"name that is too long": {1, 1, strings.Repeat("x", 250), kerr.InvalidTopicException},
	} {
		if _, err := admin.CreateTopic(ctx, test.partitions, test.replicas, nil, test.topic); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if out := command(t, node, "topic", "create", "by-varve"); out.Code != 1 || !strings.Contains(string(out.Stderr), "exists") {
		t.Errorf("exit code %d: %s", out.Code, out.Stderr)
	}
	mustRun(t, node, "topic", "delete", "by-kadm", "--yes")
	if deleted, err := admin.DeleteTopics(ctx, "by-varve", "never-was"); err != nil || deleted["by-varve"].Err != nil ||
		!errors.Is(deleted["never-was"].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("delete: %v, %v", deleted, err)
	}
	fresh := kadm.NewClient(client(t, node.Kafka)) // the other may answer with metadata that it got before the deletion
	if listed, err := fresh.ListTopics(ctx); err != nil || len(listed) != 0 {
		t.Errorf("kadm lists %v, %v", listed, err)
	}
}

// TestReservedNamesAreRefused: clients cannot make the topics that Kafka keeps
// for itself, nor those whose names collide with them, and get the reason.
func TestReservedNamesAreRefused(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	c := client(t, node.Kafka)
	admin := kadm.NewClient(c)
	names := []string{"__consumer_offsets", "__transaction_state", "__cluster_metadata", "__share_group_state", "__transaction.state", "__consumer.offsets"}
	for _, name := range names {
		made, err := admin.CreateTopic(deadline(t), 1, 1, nil, name)
		if !errors.Is(err, kerr.InvalidTopicException) || !strings.Contains(made.ErrMessage, "the cluster") {
			t.Errorf("%s: %v, %q", name, err, made.ErrMessage)
		}
		if out := command(t, node, "topic", "create", name); out.Code != 1 || !strings.Contains(string(out.Stderr), "the cluster") {
			t.Errorf("%s: exit code %d: %s", name, out.Code, out.Stderr)
		}
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation, req.Topics = true, []kmsg.MetadataRequestTopic{{Topic: &name}}
		if resp, err := req.RequestWith(deadline(t), c); err != nil || resp.Topics[0].ErrorCode != kerr.InvalidTopicException.Code {
			t.Errorf("%s: made by asking: %+v, %v", name, resp, err)
		}
	}
	if listed, err := admin.ListTopicsWithInternal(deadline(t)); err != nil || len(listed) > 0 {
		t.Errorf("there are %v, %v", listed, err)
	}
}

func TestDescribeConfigsShowsThatAnArchiveKeeps(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	described, err := kadm.NewClient(client(t, node.Kafka)).DescribeTopicConfigs(deadline(t), "events")
	if err != nil || len(described) != 1 || described[0].Err != nil {
		t.Fatalf("%v, %v", described, err)
	}
	shown := map[string]string{}
	for _, config := range described[0].Configs {
		shown[config.Key] = config.MaybeValue()
	}
	for key, want := range map[string]string{"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete", "compression.type": "producer"} {
		if got, known := shown[key]; got != want {
			t.Errorf("%s is %q (known: %t), want %q", key, got, known, want)
		}
	}
	var topics []struct{ Name string }
	if out := mustRun(t, node, "topic", "list", "-o", "json"); json.Unmarshal(out, &topics) != nil || len(topics) != 1 || topics[0].Name != "events" {
		t.Errorf("varve lists %s", out)
	}
}

func TestANameThatIsUsedAgainIsANewTopicAndStartsEmpty(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t)
	topicID := func() kadm.TopicID {
		t.Helper()
		listed, err := kadm.NewClient(client(t, node.Kafka)).ListTopics(deadline(t), "events")
		if err != nil || listed["events"].Err != nil {
			t.Fatal(err, listed["events"].Err)
		}
		return listed["events"].ID
	}
	ids := map[kadm.TopicID]bool{}
	for i := range 4 {
		createTopic(t, node.Kafka, "events", 2)
		ids[topicID()] = true
		if n := len(readAll(t, node.Kafka, "events")); n != 0 {
			t.Fatalf("topic %d begins with records in %d partitions", i, n)
		}
		records := numbered("events", 1, strings.Repeat("again", i), 30+i)
		for i, r := range produce(t, client(t, node.Kafka), records...) {
			if r.Offset != int64(i) {
				t.Fatalf("record %d is at offset %d", i, r.Offset)
			}
		}
		node.Kill(t)
		node.Restart(t)
		wantRecords(t, readAll(t, node.Kafka, "events")[1], records)
		mustRun(t, node, "topic", "delete", "events", "--yes")
		if i == 2 {
			node.Kill(t) // a deleted topic stays deleted
			node.Restart(t)
			if out := command(t, node, "topic", "describe", "events"); out.Code != 1 {
				t.Fatalf("a deleted topic is described with code %d: %s", out.Code, out.Stdout)
			}
		}
	}
	if len(ids) != 4 {
		t.Errorf("4 topics had %d ids", len(ids))
	}
}

func TestTopicsAndTheirRecordsOutliveKills(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, b bucket) {
		node := b.start(t)
		for _, topic := range []string{"a", "b", "c"} {
			createTopic(t, node.Kafka, topic, 2)
		}
		node.Kill(t)
		node = b.startFresh(t, node)
		listed, err := kadm.NewClient(client(t, node.Kafka)).ListTopics(deadline(t))
		if err != nil || len(listed) != 3 {
			t.Fatalf("topics: %v, %v", listed, err)
		}
		written := produce(t, client(t, node.Kafka), numbered("b", 1, "x", 10)...)
		wantAcknowledged(t, node.Kafka, "b", written)
	})
}

func TestTopicsAreCreatedForTheAskingOnlyIfThatIsWanted(t *testing.T) {
	t.Parallel()
	record := func() *kgo.Record { return &kgo.Record{Topic: "asked-for", Value: []byte("x")} }
	options := []kgo.Opt{kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(3)}
	yes := fileBucket(t).start(t, "--default-partitions", "4")
	produce(t, client(t, yes.Kafka, options...), record())
	if n := len(ends(t, yes.Kafka, "asked-for")); n != 4 {
		t.Errorf("the topic has %d partitions, want 4", n)
	}
	no := fileBucket(t).start(t, "--auto-create-topics=false")
	err := client(t, no.Kafka, options...).ProduceSync(deadline(t), record()).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("produce without auto-creation: %v", err)
	}
	listed, err := kadm.NewClient(client(t, no.Kafka)).ListTopics(deadline(t))
	if err != nil || len(listed) != 0 {
		t.Errorf("topics: %v, %v", listed, err)
	}
}

func TestATopicDeletedAmidWritesEndsThemAndNothingElse(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--auto-create-topics=false")
	createTopic(t, node.Kafka, "doomed", 2)
	createTopic(t, node.Kafka, "other", 2)
	doomed := keepWriting(t, node.Kafka, "doomed", 2, append(acksAll, kgo.UnknownTopicRetries(2))...)
	other := keepWriting(t, node.Kafka, "other", 2, acksAll...)
	doomed.progress(t, 200)
	mustRun(t, node, "topic", "delete", "doomed", "--yes")
	other.progress(t, 300)
	doomed.end(t)
	if len(doomed.failed) == 0 {
		t.Error("no write to a deleted topic failed")
	}
	acknowledged := other.end(t)
	if len(other.failed) > 0 {
		t.Errorf("writes to another topic failed: %v", other.failed[0])
	}
	wantAcknowledged(t, node.Kafka, "other", acknowledged)
	createTopic(t, node.Kafka, "doomed", 2)
	if n := len(readAll(t, node.Kafka, "doomed")); n != 0 {
		t.Errorf("the new topic has records in %d partitions", n)
	}
}
