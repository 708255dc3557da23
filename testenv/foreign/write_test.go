package foreign

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait for an expected event.
const patience = 90 * time.Second

// world is a node and its bucket.
type world struct {
	*testing.T
	folder string // of the bucket, or its s3:// address
	env    []string
	node   *testenv.Node
	ctx    context.Context
}

func newWorld(t *testing.T) *world {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	w := &world{T: t, folder: filepath.Join(t.TempDir(), "bucket"), ctx: ctx}
	u := url.URL{Scheme: "file", Path: w.folder}
	w.node = testenv.StartVarve(t, "--bucket", u.String(), "--create-bucket", "--flush-interval", "1ms",
		"--checkpoint-objects", "8", "--group-initial-rebalance-delay", "0s")
	return w
}

func (w *world) client(options ...kgo.Opt) *kgo.Client {
	w.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.node.Kafka), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression())}, options...)...)
	w.must(err)
	w.Cleanup(c.Close)
	return c
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// varve runs a command against the node.
func (w *world) varve(args ...string) []byte {
	w.Helper()
	o := testenv.Varve{Args: append(args, "--bootstrap", w.node.Kafka)}.Run(w, patience)
	if o.Code != 0 {
		w.Fatalf("varve %v: exit code %d: %s%s", args, o.Code, o.Stdout, o.Stderr)
	}
	return o.Stdout
}

func (w *world) restart() {
	w.Helper()
	w.node.Kill(w)
	w.node.Restart(w)
}

// fill writes a bucket with everything that the format has and that a node can
// be made to write. It has three leaderships, one of which hands over, and a void.
func (w *world) fill() {
	w.topics()
	w.oddRecords()
	w.restart()
	w.manyObjects()
	w.commit()
	// Within a batch, and a whole partition.
	w.varve("topic", "delete-records", "events", "--partition", "0", "--before", "69", "--yes")
	w.varve("topic", "delete-records", "events", "--partition", "1", "--before", "latest", "--yes")
	w.node.Kill(w)
	w.leaveEnd(0)
	w.leaveEnd(1)
	w.leaveVoid()
	w.node.Restart(w)
	w.produce(w.client(), numbered("events", 0, "after the void", 3)...)
}

func (w *world) topics() {
	w.varve("topic", "create", "events", "--partitions", "3", "--config", "max.message.bytes=2000000")
	w.varve("topic", "create", "odd.ones", "--config", "message.timestamp.type=LogAppendTime", "--config", "retention.ms=1000")
	w.varve("topic", "create", "packed")
	w.varve("topic", "create", "gone")
	w.produce(w.client(), numbered("gone", 0, "gone", 3)...)
	w.varve("topic", "delete", "gone", "--yes")
	w.varve("topic", "alter", "events", "--partitions", "4", "--config", "cleanup.policy=compact,delete")
	w.varve("topic", "alter", "odd.ones", "--delete-config", "retention.ms")
}

// packed is how many records of the topic packed each codec has.
const packed = 50

// oddRecords have every form of key, value and header, and every codec.
func (w *world) oddRecords() {
	records := []*kgo.Record{
		{Key: []byte("key"), Value: []byte("value \"\\\n é"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "none"}}},
		{Key: []byte{0x80, 0}, Value: []byte{0xff, 0xfe}},
		{Value: []byte{}},
		{Key: []byte{}},
	}
	for _, r := range records {
		r.Topic = "odd.ones"
	}
	w.produce(w.client(), records...)
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.NoCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		w.produce(w.client(kgo.ProducerBatchCompression(codec)), numbered("packed", 0, "packed packed packed packed", packed)...)
	}
}

// manyObjects writes until there are index pages and a floor.
func (w *world) manyObjects() {
	w.Helper()
	c := w.client(kgo.ProducerBatchCompression(kgo.GzipCompression()))
	for i := 0; ; i++ {
		if pages, floors := w.glob("journals/1/index/*"), w.glob("journals/1/floors/*"); len(pages) > 1 && len(floors) > 0 {
			w.Logf("%d objects of one record or a few", i)
			return
		}
		w.produce(c, numbered("events", int32(i%2), fmt.Sprintf("object %d", i), 1+i%3)...)
	}
}

// commit reads with a group that has a member, with commits so long that a
// snapshot of the group is made. It leaves one group without members and one
// deleted.
func (w *world) commit() {
	c := w.client(kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("packed"), kgo.DisableAutoCommit(), kgo.InstanceID("reader-1"))
	long := strings.Repeat("m", 4000)
	ctx := kgo.PreCommitFnContext(w.ctx, func(r *kmsg.OffsetCommitRequest) error {
		r.Topics[0].Partitions[0].Metadata = &long
		return nil
	})
	for range 25 {
		fetches := c.PollRecords(w.ctx, 10)
		w.must(fetches.Err())
		w.must(c.CommitRecords(ctx, fetches.Records()...))
	}
	c.Close()
	admin := kadm.NewClient(w.client())
	for _, group := range []string{"by hand", "deleted"} {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "events", Partition: 2, At: 0, LeaderEpoch: -1, Metadata: "by hand"})
		_, err := admin.CommitOffsets(w.ctx, group, offsets)
		w.must(err)
	}
	_, err := admin.DeleteGroup(w.ctx, "deleted")
	w.must(err)
}

// newest is the header of the last object of a journal.
func (w *world) newest(id uint32) segment.Header {
	w.Helper()
	paths := w.glob(fmt.Sprintf("journals/%d/0*", id))
	data, err := os.ReadFile(paths[len(paths)-1])
	w.must(err)
	h, err := segment.DecodeHeader(data)
	w.must(err)
	return h
}

// leaveEnd stores an end entry, as a leader does that hands its journal over.
func (w *world) leaveEnd(id uint32) {
	w.Helper()
	h := w.newest(id)
	if h.Kind != segment.KindFiller { // those have the fence, as the first data segment has
		h.Prev = segment.Ref{Seq: h.Seq, Object: h.Object}
	}
	h.Kind, h.WAL = segment.KindData, segment.WALRange{}
	h.Confirmed, h.Seq, h.Object = h.Seq, h.Seq+1, segment.NewID()
	w.store(h, journal.End{To: segment.NewID(), Assignment: 1}.Entry())
}

// store stores a data segment of one entry.
func (w *world) store(h segment.Header, e segment.Entry) {
	w.Helper()
	data, _, err := segment.Build(h, []segment.Entry{e}, nil)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.folder, segment.JournalKey(h.Journal, h.Seq)), data, 0o600))
}

// leaveVoid stores an object that the last leader may have had under way when
// it was killed: one above a gap. The next leader's fence takes the gap, so
// that the object is void.
func (w *world) leaveVoid() {
	w.Helper()
	h := w.newest(1)
	h.Kind, h.Prev, h.WAL = segment.KindData, segment.Ref{Seq: h.Seq + 1, Object: segment.NewID()}, segment.WALRange{}
	h.Confirmed, h.Seq, h.Object = h.Seq, h.Seq+2, segment.NewID()
	w.store(h, segment.Entry{Kind: 9, Payload: []byte("of no meaning")})
}

func (w *world) produce(c *kgo.Client, records ...*kgo.Record) {
	w.Helper()
	w.must(c.ProduceSync(w.ctx, records...).FirstErr())
}

func numbered(topic string, partition int32, label string, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "key-%d", i%7),
			Value: fmt.Appendf(nil, "%s, record %d", label, i), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
	}
	return records
}

// glob lists files of the bucket.
func (w *world) glob(pattern string) []string {
	w.Helper()
	paths, err := filepath.Glob(filepath.Join(w.folder, pattern))
	w.must(err)
	return paths
}
