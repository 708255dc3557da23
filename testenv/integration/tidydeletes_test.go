package integration

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/seeded"
)

// TestDeletionsByUsersHoldWhileAllIsMerged deletes the oldest records, topics with their
// records, and makes topics of the same names again, while all of them are merged and deleted,
// and the node is killed. A start never goes back, and nothing of a deleted topic comes back.
func TestDeletionsByUsersHoldWhileAllIsMerged(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	rng := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	node, all := b.start(t, joinSoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	createTopic(t, node.Kafka, "gone", 1)
	begin, gone := map[int32]int64{}, 0
	for round := range 24 {
		end := time.Now().Add(300 * time.Millisecond)
		gone += len(produce(t, client(t, node.Kafka), numbered("gone", 0, fmt.Sprint("gone ", round), 5)...))
		all.until(t, node, "some waves", func() bool { return time.Now().After(end) })
		switch p := int32(rng.IntN(3)); rng.IntN(4) {
		case 0, 1:
			begin[p] = max(begin[p], begin[p]+rng.Int64N(int64(len(all[p]))-begin[p]+1))
			if low, err := deleteBefore(t, node.Kafka, "events", p, begin[p]); err != nil || low != begin[p] {
				t.Fatalf("partition %d starts at %d, %v, want %d", p, low, err, begin[p])
			}
		case 2:
			deleteTopic(t, node.Kafka, "gone")
			createTopic(t, node.Kafka, "gone", 1)
			gone = 0
		case 3:
			node.Kill(t)
			if rng.IntN(2) == 0 {
				node = b.startFresh(t, node, joinSoon...)
			} else {
				node.Restart(t)
			}
		}
		if n := ends(t, node.Kafka, "gone")[0]; n != int64(gone) {
			t.Fatalf("the topic that was made again has %d records, want %d", n, gone)
		}
		all.checkFrom(t, node.Kafka, begin)
	}
	all.until(t, node, "objects are deleted", func() bool { return sum(t, node, "varve_deleted_objects_total") > 60 })
	all.checkFrom(t, node.Kafka, begin)
	node.Stop(t)
	b.verified(t)
}

// checkFrom is check for partitions whose oldest records were deleted.
func (w written) checkFrom(t *testing.T, address string, begin map[int32]int64) {
	t.Helper()
	from, left := map[int32]kgo.Offset{}, 0
	begins := starts(t, address, "events")
	for p, records := range w {
		if begins[p] != begin[p] {
			t.Fatalf("partition %d starts at %d, want %d", p, begins[p], begin[p])
		}
		from[p] = kgo.NewOffset().At(begin[p])
		left += len(records) - int(begin[p])
	}
	got := written{}
	c := client(t, address, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"events": from}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	defer c.Close()
	for ctx := deadline(t); left > 0; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("with %d records to come: %v", left, err)
		}
		for _, r := range fetches.Records() {
			got[r.Partition] = append(got[r.Partition], r)
			left--
		}
	}
	for p, records := range w {
		wantRecords(t, got[p], records[begin[p]:])
	}
}

// TestABucketThatWasIdleForDaysExpiresNothingAtOnce: a folder has no clock, and its newest
// object is three days or a year old, or of next year. The node's clock may be wrong, so
// nothing expires, no topic is purged and nothing is deleted.
func TestABucketThatWasIdleForDaysExpiresNothingAtOnce(t *testing.T) {
	full(t)
	t.Parallel()
	b := fileBucket(t)
	node := b.start(t, "--roles", "ingest,fetch") // nothing expires yet
	id := createWith(t, node.Kafka, "gone")
	createWith(t, node.Kafka, "aged", "retention.ms=1000")
	records := produce(t, client(t, node.Kafka), numbered("aged", 0, "aged", 10)...)
	produce(t, client(t, node.Kafka), numbered("gone", 0, "gone", 10)...)
	deleteTopic(t, node.Kafka, "gone")
	node.Stop(t)
	for name, age := range map[string]time.Duration{"three days": 72 * time.Hour, "a year": 8760 * time.Hour, "next year": -8760 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := b.copied(t)
			b.age(t, age)
			node := b.start(t, joinSoon...)
			produce(t, client(t, node.Kafka), numbered("aged", 0, "more", 10)...)
			await(t, node, "the journal is merged", func() bool { return sum(t, node, "varve_merge_jobs_total") > 0 })
			time.Sleep(time.Second) // ten looks
			wantRecords(t, readAll(t, node.Kafka, "aged")[0][:10], records)
			if n := sum(t, node, "varve_deleted_objects_total"); n != 0 {
				t.Errorf("%v objects are deleted", n)
			}
			if again := createWith(t, node.Kafka, "gone", "varve.undelete="); again != id {
				t.Errorf("restored the topic %s, want %s", again, id)
			}
		})
	}
	b.age(t, time.Hour)
	node = b.start(t, joinSoon...)
	await(t, node, "records expire", func() bool { return starts(t, node.Kafka, "aged")[0] == 10 })
}

// TestADeletedGroupStaysDeletedOnceItsTombstoneIsGone: a snapshot of the coordinator has the
// group still.
func TestADeletedGroupStaysDeletedOnceItsTombstoneIsGone(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	node, all := b.start(t, joinSoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	c := byName(t, node.Kafka)
	commit := func(group string, offset int64) {
		if err := committed(c.Request(deadline(t), commitRequest(group, "events", 3, offset, ""))); err != nil {
			t.Fatal(err)
		}
	}
	commit("gone", 1)
	for i := range int64(5) {
		commit("kept", i)
	}
	setConfig(t, node.Kafka, "__consumer_offsets", "delete.retention.ms", "0")
	checkpoints := sum(t, node, "varve_journal_head", `journal="1"`) + 30
	all.until(t, node, "checkpoints with a snapshot", func() bool { return sum(t, node, "varve_journal_head", `journal="1"`) > checkpoints })
	if _, err := kadm.NewClient(c).DeleteGroup(deadline(t), "gone"); err != nil {
		t.Fatal(err)
	}
	passes := sum(t, node, "varve_compaction_passes_total")
	all.until(t, node, "the tombstone goes", func() bool {
		commit("kept", int64(len(all[0])))
		return sum(t, node, "varve_compaction_passes_total") > passes+6
	})
	for _, again := range []func(){
		func() { node.Kill(t); node.Restart(t) },
		func() { node.Kill(t); node = b.startFresh(t, node, joinSoon...) },
	} {
		again()
		groups, err := kadm.NewClient(client(t, node.Kafka)).ListGroups(deadline(t))
		if _, back := groups["gone"]; err != nil || back || len(groups) != 1 {
			t.Errorf("groups %v, %v", groups.Groups(), err)
		}
	}
	offsets := offsetsOf(t, node.Kafka, "kept")
	if len(offsets) != 3 || offsets[0].At < 5 {
		t.Errorf("offsets %v", offsets)
	}
}

// setConfig changes a configuration of a topic.
func setConfig(t *testing.T, address, topic, name, value string) {
	t.Helper()
	answer, err := kadm.NewClient(client(t, address)).AlterTopicConfigs(deadline(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err == nil {
		err = answer[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}
