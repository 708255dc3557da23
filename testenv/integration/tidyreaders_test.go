package integration

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv"
)

// TestReadersGoOnWhereTheirObjectsWereDeleted has consumers in the middle of a topic, one at
// the leader and one at a node that only reads. That node stands still while the objects that
// it knows are merged away and deleted at once, and so are those that replaced them.
func TestReadersGoOnWhereTheirObjectsWereDeleted(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	node, all := b.start(t, joinSoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	reader := b.start(t, "--roles", "fetch", "--archive", "--cache-bytes", "16MiB", "--tail-bytes", "1MiB")
	awaitTopic(t, reader, "events")
	all.until(t, node, "many records", func() bool { return len(all[0]) > 60 })
	consumers := []*consuming{consumeSlowly(t, node, "events", 3), consumeSlowly(t, reader, "events", 3)}
	for _, c := range consumers {
		c.read(t, 90)
	}
	for range 3 {
		signal(t, reader, syscall.SIGSTOP)
		deleted, joined := sum(t, node, "varve_deleted_objects_total"), sum(t, node, "varve_merge_jobs_total", `level="2"`)
		all.until(t, node, "more is merged, joined and deleted", func() bool {
			return sum(t, node, "varve_deleted_objects_total") > deleted+60 && sum(t, node, "varve_merge_jobs_total", `level="2"`) > joined+1
		})
		signal(t, reader, syscall.SIGCONT)
		for _, c := range consumers {
			c.read(t, 90)
		}
	}
	for _, c := range consumers {
		c.read(t, 3*len(all[0])-c.n)
		for p, want := range all {
			wantRecords(t, c.got[p], want)
		}
	}
	if n := sum(t, reader, "varve_damaged_reads_total"); n > 0 {
		t.Errorf("%v reads met damage\n%s", n, reader.Log())
	}
}

// consuming is a consumer that reads a bit at a time. Its offsets must have no gap.
type consuming struct {
	client *kgo.Client
	got    written
	n      int
}

func consumeSlowly(t *testing.T, node *testenv.Node, topic string, partitions int32) *consuming {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for p := range partitions {
		from[p] = kgo.NewOffset().At(0)
	}
	// An offset that is out of range is an error, and none is fetched before it is asked for.
	return &consuming{got: written{}, client: client(t, node.Kafka, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxPartitionBytes(8<<10), kgo.MaxConcurrentFetches(1), kgo.MaxBufferedRecords(10))}
}

// read reads at least n more records.
func (c *consuming) read(t *testing.T, n int) {
	t.Helper()
	ctx := deadline(t)
	for end := c.n + n; c.n < end; {
		fetches := c.client.PollRecords(ctx, min(10, end-c.n))
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d records: %v", c.n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := int64(len(c.got[r.Partition])); r.Offset != want {
				t.Fatalf("partition %d: offset %d, want %d", r.Partition, r.Offset, want)
			}
			c.got[r.Partition] = append(c.got[r.Partition], r)
			c.n++
		})
	}
}

// TestARetryOfAMergedBatchGetsItsOffset: the objects in which the batch was written are deleted.
// A batch that leaves some out is refused still.
func TestARetryOfAMergedBatchGetsItsOffset(t *testing.T) {
	full(t)
	t.Parallel()
	b := minioBucket(t)
	node, all := b.start(t, joinSoon...), written{}
	createTopic(t, node.Kafka, "events", 3)
	createTopic(t, node.Kafka, "retried", 1)
	producer := ask[*kmsg.InitProducerIDResponse](t, client(t, node.Kafka), kmsg.NewPtrInitProducerIDRequest())
	sent := func(sequence int32) (offset int64, code int16) {
		batch := rawBatch(rawOptions{producer: producer.ProducerID, epoch: producer.ProducerEpoch, sequence: sequence, value: fmt.Appendf(nil, "%d", sequence)})
		p := askToProduce(t, dial(t, node.Kafka), "retried", batch)
		return p.BaseOffset, p.ErrorCode
	}
	for sequence := range int32(4) {
		if offset, code := sent(sequence); code != 0 || offset != int64(sequence) {
			t.Fatalf("sequence %d: offset %d, error %d", sequence, offset, code)
		}
	}
	head := sum(t, node, "varve_journal_head", `journal="1"`)
	all.until(t, node, "the objects are deleted", func() bool { return b.journalUpTo(t, head) <= 8 }) // fences stay
	for name, again := range map[string]func(){
		"retried at once":         func() {},
		"killed":                  func() { node.Kill(t); node.Restart(t) },
		"killed, its folder lost": func() { node.Kill(t); node = b.startFresh(t, node, joinSoon...) },
	} {
		again()
		for sequence := range int32(4) {
			if offset, code := sent(sequence); code != 0 || offset != int64(sequence) {
				t.Errorf("%s: sequence %d: offset %d, error %d", name, sequence, offset, code)
			}
		}
		if _, code := sent(7); code == 0 {
			t.Errorf("%s: a batch that leaves sequences out is accepted", name)
		}
	}
	if got := readAll(t, node.Kafka, "retried")[0]; len(got) != 4 || string(got[3].Value) != "3" {
		t.Errorf("%d records, want 4", len(got))
	}
}
