package kafka

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
)

// headed is a batch that claims count records of a codec and has these bytes.
func headed(codec batch.Codec, count int32, payload []byte) []byte {
	b := append(batchtest.Build(plain())[:batch.HeaderSize:batch.HeaderSize], payload...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint16(b[21:], uint16(codec))
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	return batchtest.FixCRC(b)
}

// attacks are batches whose records contradict their header, by name.
func attacks(t *testing.T) map[string][]byte {
	three := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a", "b", "c")})[batch.HeaderSize:]
	record := func(body ...byte) []byte { return append(binary.AppendVarint(nil, int64(len(body))), body...) }
	deltas := bytes.Join([][]byte{record(0, 0, 0, 1, 1, 0), record(0, 0, 0, 1, 1, 0), record(0, 0, 4, 1, 1, 0)}, nil)
	out := map[string][]byte{
		"garbage": headed(batch.None, 3, []byte(strings.Repeat("garbage bytes. ", 4))),
		"window":  headed(batch.Zstd, 1, wideWindow(t)),
	}
	for name, codec := range map[string]batch.Codec{"none": batch.None, "gzip": batch.Gzip, "lz4": batch.LZ4, "zstd": batch.Zstd, "snappy": batch.Snappy, "xerial": batch.Snappy} {
		pack := func(b []byte) []byte { return batchtest.Compress(codec, name == "xerial", b) }
		packed := pack(three)
		out[name+" with a count too low"] = headed(codec, 2, packed)
		out[name+" with a count too high"] = headed(codec, 4, packed)
		out[name+" with offset deltas 0, 0, 2"] = headed(codec, 3, pack(deltas))
		out[name+" with a byte behind the records"] = headed(codec, 3, pack(append(bytes.Clone(three), 0)))
		out[name+" with a negative length"] = headed(codec, 1, pack([]byte{1, 0, 0, 0, 1, 1, 0}))
		out[name+" with a negative key length"] = headed(codec, 1, pack(record(0, 0, 0, 3, 1, 0)))
		out[name+" with a header without a key"] = headed(codec, 1, pack(record(0, 0, 0, 1, 1, 2, 1, 1)))
		if codec == batch.None {
			continue
		}
		out[name+" over plain bytes"] = headed(codec, 3, three)
		out[name+" cut short"] = headed(codec, 3, packed[:len(packed)-4])
		out[name+" twice"] = headed(codec, 3, pack(packed))
		out[name+" with bytes behind the stream"] = headed(codec, 3, append(bytes.Clone(packed), "behind"...))
		out[name+" with 100,000 records in three"] = headed(codec, 100_000, packed)
	}
	return out
}

// wideWindow announces a window of 128 MiB, and needs 70 MiB of it.
func wideWindow(t *testing.T) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(128<<20), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		t.Fatal(err)
	}
	raw := batchtest.Build(batchtest.Spec{Records: []batchtest.Record{{Value: make([]byte, 70<<20)}}})[batch.HeaderSize:]
	w.Write(raw[:1])
	w.Flush()
	w.Write(raw[1:])
	w.Close()
	return out.Bytes()
}

func TestProduceRefusesRecordsThatAreNotWhatTheHeaderSays(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	produced := int64(0)
	for name, b := range attacks(t) {
		req := sample(0, 9, topic).(*kmsg.ProduceRequest)
		req.Topics[0].Partitions[0].Records = b
		p := cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != kerr.InvalidRecord.Code || p.ErrorMessage == nil || p.BaseOffset != -1 {
			t.Errorf("%s: error %d, offset %d", name, p.ErrorCode, p.BaseOffset)
		} else if len(p.ErrorRecords) != 1 || p.ErrorRecords[0].ErrorMessage == nil {
			t.Errorf("%s: records at fault are %+v", name, p.ErrorRecords)
		}
		if p := cl.ask(produceOne(topic, -1, plain())).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != produced {
			t.Fatalf("%s: a sound batch after it gets error %d and offset %d, want %d", name, p.ErrorCode, p.BaseOffset, produced)
		}
		produced += 2
	}
}

func TestVeryCompressibleBatchesAreTaken(t *testing.T) {
	c := newCluster()
	compacted := c.addTopic(t, "compacted", 1, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000000"})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for _, codec := range []batch.Codec{batch.Gzip, batch.LZ4, batch.Zstd, batch.Snappy} {
		spec := batchtest.Spec{Codec: codec, Records: []batchtest.Record{{Key: []byte("k"), Value: make([]byte, 20<<20), Timestamp: 1}}}
		if p := cl.ask(produceOne(compacted, -1, spec)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Errorf("20 MiB of zeros in %v: error %d, %v", codec, p.ErrorCode, *p.ErrorMessage)
		}
	}
}

// stored is the only batch of a topic.
func (c *cluster) stored(t *testing.T, topic *metadata.Topic) batch.Header {
	t.Helper()
	results, release := c.Fetch(t.Context(), fetch.Request{MaxBytes: 1 << 20, Partitions: []fetch.Partition{{Key: partlog.Key{Topic: topic.ID}}}})
	defer release()
	b := results[0].Records[0]
	h, err := batch.Parse(b)
	if err != nil || !batch.CheckCRC(b, h) {
		t.Fatalf("stored batch: %v, CRC %v", err, batch.CheckCRC(b, h))
	}
	return h
}

func TestTheHeadersMaxTimestampIsNotBelieved(t *testing.T) {
	for i, claimed := range []int64{-1, 0, 1_600_000_000_000, 1_699_999_999_999, math.MaxInt64, math.MinInt64} {
		for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
			c := newCluster()
			topic := c.addTopic(t, "events", 1, nil)
			cl := start(t, c, Config{}, c.backend()).dial(t)
			spec := batchtest.Spec{Codec: codec, Records: []batchtest.Record{{Timestamp: 1_600_000_000_000}, {Timestamp: 1_650_000_000_000}, {Timestamp: 1_640_000_000_000}}}
			req := produceOne(topic, -1, spec)
			b := req.Topics[0].Partitions[0].Records
			binary.BigEndian.PutUint64(b[35:], uint64(claimed))
			batchtest.FixCRC(b)
			if p := cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
				t.Fatalf("case %d, %v: error %d", i, codec, p.ErrorCode)
			}
			if h := c.stored(t, topic); h.MaxTimestamp != 1_650_000_000_000 {
				t.Errorf("the client claims %d in %v: stored is %d", claimed, codec, h.MaxTimestamp)
			}
		}
	}
}

func TestBoundsOfTimestampsHoldForEachRecord(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, map[string]string{
		"message.timestamp.before.max.ms": "1000", "message.timestamp.after.max.ms": "2000",
	})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	now := c.now.UnixMilli()
	spec := batchtest.Spec{Records: []batchtest.Record{{Timestamp: now}, {Timestamp: now - 1001}, {Timestamp: -1}, {Timestamp: now + 2001}, {Timestamp: now + 2000}}}
	p := cl.ask(produceOne(topic, -1, spec)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if p.ErrorCode != kerr.InvalidTimestamp.Code || len(p.ErrorRecords) != 2 || p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorRecords[1].RelativeOffset != 3 {
		t.Fatalf("answer is %+v", p)
	}
	for i, setting := range []string{"message.timestamp.before.max.ms", "message.timestamp.after.max.ms"} {
		if text := *p.ErrorRecords[i].ErrorMessage; !strings.Contains(text, setting) {
			t.Errorf("record %d: %q names no %s", p.ErrorRecords[i].RelativeOffset, text, setting)
		}
	}
}
