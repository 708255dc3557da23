package clients

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/proc"
)

func startMirror(t *testing.T, j java, from, to *testenv.Node) *proc.Process {
	t.Helper()
	values := map[string]string{
		"clusters": "a, b", "a.bootstrap.servers": from.Kafka, "b.bootstrap.servers": to.Kafka,
		"a->b.enabled": "true", "b->a.enabled": "false", "topics": "orders", "groups": "readers", "tasks.max": "1",
		"refresh.topics.interval.seconds": "1", "refresh.groups.interval.seconds": "1",
		"sync.topic.configs.interval.seconds": "1",
		"emit.checkpoints.interval.seconds":   "1", "emit.heartbeats.interval.seconds": "1",
		"sync.group.offsets.enabled": "true", "sync.group.offsets.interval.seconds": "1",
		"offset.lag.max":                "0", // each record's translated offset is kept
		"a->b.offset.flush.interval.ms": "300", "scheduled.rebalance.max.delay.ms": "0",
		"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000",
		"producer.linger.ms": "5",
	}
	for _, name := range []string{"", "offset-syncs.topic.", "checkpoints.topic.", "heartbeats.topic.",
		"offset.storage.", "status.storage.", "config.storage."} {
		values[name+"replication.factor"] = "1"
	}
	values["offset.storage.partitions"], values["status.storage.partitions"] = "3", "2"
	return j.start(t, "mirror-maker", nil, nil, "org.apache.kafka.connect.mirror.MirrorMaker", properties(t, values))
}

// mirror copies a topic and the positions of a group from one varve to another.
func mirror(t *testing.T, j java) {
	from, to := startNode(t), startNode(t)
	createNamed(t, from.Kafka, "orders", 2)
	written := 0
	produce := func(n int) {
		write(t, from.Kafka, "orders", events(2, written, n))
		written += n
	}
	produce(400)
	p := startMirror(t, j, from, to)
	mirrored := func() error { return sameInOrder(from.Kafka, "orders", to.Kafka, "a.orders") }
	lasting(t, p, mirrored)

	crash(t, to, func() { produce(200) })
	lasting(t, p, mirrored)
	crash(t, from, func() {})
	produce(200)
	lasting(t, p, mirrored)

	// The next process goes on from the topics of the first one.
	eventually(t, func() error { return hasCompacted(to) })
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	produce(200)
	p = startMirror(t, j, from, to)
	lasting(t, p, mirrored)
	translated(t, p, from.Kafka, to.Kafka, func() (end int64) { produce(2); return int64(written / 2) })
}

// translated wants the position of a group to follow to the copy. A process translates those
// after the newest record that was copied before it began to look, so each turn writes more.
func translated(t *testing.T, p *proc.Process, from, to string, more func() (end int64)) {
	t.Helper()
	lasting(t, p, func() error {
		end := more()
		commit(t, from, "readers", "orders", map[int32]int64{0: end - 1, 1: end})
		time.Sleep(settle)
		offsets, err := kadm.NewClient(reference(t, to)).FetchOffsets(deadline(t), "readers")
		if err != nil {
			return err
		}
		for partition := range int32(2) {
			// A duplicate in the copy moves the offsets of records, and a translation may be
			// a few records early, never late.
			if o, ok := offsets.Lookup("a.orders", partition); !ok || o.At < end-100 {
				return fmt.Errorf("partition %d: the group has %d, want about %d", partition, o.At, end)
			}
		}
		return nil
	})
}

// commit commits offsets for a group.
func commit(t *testing.T, broker, group, topic string, at map[int32]int64) {
	t.Helper()
	var offsets kadm.Offsets
	for partition, offset := range at {
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1})
	}
	if err := kadm.NewClient(reference(t, broker)).CommitAllOffsets(deadline(t), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// sameInOrder returns nil if a copy has the records of a topic, in their order. A record may
// be there again after a crash: the copier sends it at least once.
func sameInOrder(fromBroker, from, toBroker, to string) error {
	want, err := readAll(fromBroker, from)
	if err != nil {
		return err
	}
	got, err := readAll(toBroker, to)
	if err != nil {
		return err
	}
	seenBefore := map[string]bool{}
	var once []*kgo.Record
	for _, r := range got {
		if id := string(r.Value); !seenBefore[id] { // no two records have the same value
			seenBefore[id] = true
			once = append(once, r)
		}
	}
	if len(once) != len(want) {
		return fmt.Errorf("the copy has %d records of %d", len(once), len(want))
	}
	byPartition := func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	}
	slices.SortFunc(want, byPartition)
	slices.SortFunc(once, byPartition)
	for i, w := range want {
		g := seen(once[i])
		if w := seen(w); g.Partition != w.Partition || g.Key != w.Key || g.Value != w.Value || g.Timestamp != w.Timestamp || !maps.Equal(g.Headers, w.Headers) {
			return fmt.Errorf("the copy has at %d/%d:\n%.200v, want\n%.200v", g.Partition, g.Offset, g, w)
		}
	}
	return nil
}
