package integration

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// claiming is a batch whose header claims a number of records and a codec, with
// these bytes.
func claiming(codec batch.Codec, records int32, payload []byte) []byte {
	b := append(batchtest.Build(batchtest.Spec{Records: batchtest.Values(1_700_000_000_000, "")})[:batch.HeaderSize:batch.HeaderSize], payload...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint16(b[21:], uint16(codec))
	binary.BigEndian.PutUint32(b[23:], uint32(records-1))
	binary.BigEndian.PutUint32(b[57:], uint32(records))
	return batchtest.FixCRC(b)
}

// TestRecordsThatNoConsumerCouldReadAreRefused sends them on one connection,
// each before a sound batch: the stored batches can be read.
func TestRecordsThatNoConsumerCouldReadAreRefused(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	three := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1_700_000_000_000, "a", "b", "c")})[batch.HeaderSize:]
	gzip := batchtest.Compress(batch.Gzip, false, three)
	zstd := batchtest.Compress(batch.Zstd, false, three)
	c := dial(t, node.Kafka)
	var want []*kgo.Record
	for name, b := range map[string][]byte{
		"gzip over plain bytes":    claiming(batch.Gzip, 3, three),
		"a cut gzip stream":        claiming(batch.Gzip, 3, gzip[:len(gzip)-3]),
		"a cut zstd stream":        claiming(batch.Zstd, 3, zstd[:len(zstd)-3]),
		"garbage":                  claiming(batch.None, 3, []byte(strings.Repeat("garbage bytes. ", 4))),
		"two of three":             claiming(batch.Zstd, 2, zstd),
		"100,000 of three":         claiming(batch.Gzip, 100_000, gzip),
		"compressed twice":         claiming(batch.Zstd, 3, batchtest.Compress(batch.Zstd, false, zstd)),
		"bytes behind the stream":  claiming(batch.Gzip, 3, append(bytes.Clone(gzip), 1, 2, 3)),
		"bytes behind the records": claiming(batch.LZ4, 3, batchtest.Compress(batch.LZ4, false, append(bytes.Clone(three), 0))),
	} {
		p := askToProduce(t, c, "events", b)
		if p.ErrorCode != kerr.InvalidRecord.Code || len(p.ErrorRecords) != 1 || p.ErrorMessage == nil {
			t.Errorf("%s: %+v, want %v and the record at fault", name, p, kerr.InvalidRecord)
		}
		r := &kgo.Record{Value: []byte(name), Timestamp: time.UnixMilli(1_700_000_000_000)}
		if p := askToProduce(t, c, "events", batchtest.Build(batchtest.Spec{Records: batchtest.Values(1_700_000_000_000, name)})); p.ErrorCode != 0 {
			t.Fatalf("a sound batch after %s: error %d", name, p.ErrorCode)
		}
		want = append(want, r)
	}
	wantRecords(t, readAll(t, node.Kafka, "events")[0], want)
}

func askToProduce(t *testing.T, c connection, topic string, records []byte) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 30_000
	toTopic := kmsg.NewProduceRequestTopic()
	toPartition := kmsg.NewProduceRequestTopicPartition()
	toTopic.Topic, toPartition.Records = topic, records
	toTopic.Partitions = append(toTopic.Partitions, toPartition)
	request.Topics = append(request.Topics, toTopic)
	return c.ask(t, request, 9).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
}

// TestTimesAreThoseOfTheRecords: a client claims that its batch has no newest time.
func TestTimesAreThoseOfTheRecords(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	spec := batchtest.Spec{Codec: batch.LZ4}
	for i := range int64(10) {
		spec.Records = append(spec.Records, batchtest.Record{Value: []byte("v"), Timestamp: 1_700_000_000_000 + 1000*i})
	}
	b := batchtest.Build(spec)
	batch.SetMaxTimestamp(b, -1)
	if code := produceRaw(t, node.Kafka, "events", 0, b); code != 0 {
		t.Fatalf("error %d", code)
	}
	at, err := kadm.NewClient(client(t, node.Kafka)).ListOffsetsAfterMilli(deadline(t), 1_700_000_004_500, "events")
	if o, _ := at.Lookup("events", 0); err != nil || o.Offset != 5 || o.Timestamp != 1_700_000_005_000 {
		t.Errorf("found %+v, %v", o, err)
	}
	deletion := []string{"topic", "delete-records", "events", "--bootstrap", node.Kafka, "--yes", "--before"}
	if out := (testenv.Varve{Args: append(deletion, "2040-01-01")}).Run(t, patience); out.Code != 2 || !strings.Contains(string(out.Stderr), "2023-11-14T22:13:29.000Z; add --allow-empty") {
		t.Errorf("delete-records before 2040: exit code %d: %s", out.Code, out.Stderr)
	}
	for _, test := range []struct {
		before string
		start  int64
	}{{"2000-01-01", 0}, {"2023-11-14T22:13:25Z", 5}} {
		if out := (testenv.Varve{Args: append(deletion, test.before)}).Run(t, patience); out.Code != 0 {
			t.Errorf("delete-records before %s: exit code %d: %s", test.before, out.Code, out.Stderr)
		}
		starts, err := kadm.NewClient(client(t, node.Kafka)).ListStartOffsets(deadline(t), "events")
		if start, _ := starts.Lookup("events", 0); err != nil || start.Offset != test.start {
			t.Errorf("after delete-records before %s the first offset is %d, %v, want %d", test.before, start.Offset, err, test.start)
		}
	}
}

// TestLookUpsByTimeTakeLittleMemory lets many clients look into batches that
// expand to 200 MB each.
func TestLookUpsByTimeTakeLittleMemory(t *testing.T) {
	t.Parallel()
	const partitions, clients = 4, 4
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", partitions)
	bomb := batchtest.Build(batchtest.Spec{Codec: batch.Zstd, Records: []batchtest.Record{
		{Value: make([]byte, 200<<20), Timestamp: 1_700_000_000_000}, {Value: []byte("v"), Timestamp: 1_700_000_001_000},
	}})
	for p := range int32(partitions) {
		if code := produceRaw(t, node.Kafka, "events", p, bomb); code != 0 {
			t.Fatalf("error %d", code)
		}
	}
	var all sync.WaitGroup
	for range clients {
		admin := kadm.NewClient(client(t, node.Kafka))
		all.Go(func() {
			at, err := admin.ListOffsetsAfterMilli(deadline(t), 1_700_000_000_001, "events")
			if err != nil {
				t.Error(err)
			}
			at.Each(func(o kadm.ListedOffset) {
				if o.Err != nil || o.Offset != 1 {
					t.Errorf("found %+v", o)
				}
			})
		})
	}
	all.Wait()
	if rss, found := metric(t, node, "process_resident_memory_bytes"); !found || rss > mostMemory {
		t.Errorf("the node takes %.0f MiB of memory (found: %t)", rss/(1<<20), found)
	}
}

// TestMessagesOf30MiB survive in the write-ahead log, and in the bucket.
func TestMessagesOf30MiB(t *testing.T) {
	t.Parallel()
	seed := seeded.Seed(t)
	node := fileBucket(t).start(t, "--flush-interval=20ms")
	limit := "33554432"
	_, err := kadm.NewClient(client(t, node.Kafka)).CreateTopic(deadline(t), 1, 1, map[string]*string{"max.message.bytes": &limit}, "large")
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 30<<20)
	rng := rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), seed)))
	rng.Read(random)
	text := bytes.Repeat([]byte("a line of text that compresses well\n"), 30<<20/36)
	var written []*kgo.Record
	for _, acks := range []kgo.Acks{kgo.AllISRAcks(), kgo.LeaderAck()} {
		for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.ZstdCompression()} {
			options := []kgo.Opt{kgo.RequiredAcks(acks), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(32 << 20), kgo.BrokerMaxWriteBytes(64 << 20)}
			if acks == kgo.LeaderAck() {
				options = append(options, kgo.DisableIdempotentWrite())
			}
			for _, value := range [][]byte{random, text} {
				r := &kgo.Record{Topic: "large", Value: value, Timestamp: time.UnixMilli(1_700_000_000_000)}
				written = append(written, produce(t, client(t, node.Kafka, options...), r)...)
			}
		}
	}
	node.Kill(t)
	node.Restart(t)
	wantRecords(t, readAll(t, node.Kafka, "large")[0], written)
	if out := (testenv.Varve{Args: []string{"consume", "large", "--bootstrap", node.Kafka, "--max", "1"}}).Run(t, patience); out.Code != 0 || len(out.Stdout) != len(random)+1 {
		t.Errorf("varve consume: exit code %d, %d bytes: %s", out.Code, len(out.Stdout), out.Stderr)
	}
}
