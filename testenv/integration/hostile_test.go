package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// frame is a request on the wire: key, version, correlation id, a missing
// client id, body.
func frame(key, version int16, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 7)
	return append(append(b, 0xff, 0xff), body...)
}

// mostMemory limits the node's memory under hostile bytes: its budget for
// requests and the constant need of the process.
const mostMemory = 500 << 20

func TestHostileBytesEndTheirConnectionOnly(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	written := produce(t, client(t, node.Kafka), numbered("events", 0, "before", 20)...)
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for name, sent := range map[string][]byte{
		"negative frame":         append(length(0x80000000), frame(3, 1)[4:]...),
		"frame of minus one":     append(length(0xffffffff), frame(3, 1)[4:]...),
		"empty frame":            append(length(0), frame(3, 1)[4:]...),
		"more than 100 MiB":      append(length(100<<20+1), frame(0, 9)[4:]...),
		"unknown key":            frame(999, 0),
		"negative key":           frame(-1, 0),
		"unknown version":        frame(3, 99),
		"negative version":       frame(3, -1),
		"TLS hello":              {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 1, 2, 3, 4, 5},
		"HTTP":                   []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"huge array":             frame(3, 1, 0x7f, 0xff, 0xff, 0xff),
		"huge array, flexible":   frame(3, 9, 0, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"huge string":            frame(3, 1, 0, 0, 0, 1, 0x7f, 0xff, 'x'),
		"records beyond frame":   frame(0, 3, 0xff, 0xff, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 'e', 0, 0, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff),
		"varint without an end":  frame(3, 9, bytes.Repeat([]byte{0xff}, 50)...),
		"nothing but high bytes": bytes.Repeat([]byte{0xff}, 4096),
	} {
		c := dial(t, node.Kafka)
		if _, err := c.Write(sent); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !c.ended(t) {
			t.Errorf("%s: the node answers", name)
		}
	}
	// Cut frames: the client goes away, or announces many bytes and waits.
	for _, cut := range [][]byte{{0}, length(1000), frame(3, 1)[:9], append(length(100<<20), frame(0, 9)[4:]...)} {
		for range 50 {
			c := dial(t, node.Kafka)
			if _, err := c.Write(cut); err != nil {
				t.Fatal(err)
			}
			if len(cut) != 4 { // some stay until the test ends
				c.Close()
			}
		}
	}
	if status, body := get(t, node, "/readyz"); status != 200 {
		t.Errorf("not ready: %s", body)
	}
	if rss, found := metric(t, node, "process_resident_memory_bytes"); !found || rss > mostMemory {
		t.Errorf("the node takes %.0f MiB of memory (found: %t)", rss/(1<<20), found)
	}
	written = append(written, produce(t, client(t, node.Kafka), numbered("events", 0, "after", 20)...)...)
	wantRecords(t, readAll(t, node.Kafka, "events")[0], written)
}

func TestAnUnknownVersionOfApiVersionsIsAnswered(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	request := kmsg.NewPtrApiVersionsRequest()
	c := dial(t, node.Kafka)
	sent := frame(int16(kmsg.ApiVersions), 99)
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	answer := c.read(t)
	response := request.ResponseKind().(*kmsg.ApiVersionsResponse)
	response.SetVersion(0)
	if err := response.ReadFrom(answer); err != nil {
		t.Fatal(err)
	}
	if response.ErrorCode != kerr.UnsupportedVersion.Code || len(response.ApiKeys) == 0 {
		t.Errorf("code %d with %d keys", response.ErrorCode, len(response.ApiKeys))
	}
}

func TestBatchesThatMustNotBeStoredAreRefusedWithKafkasCode(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--auto-create-topics=false")
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka)
	id, epoch, err := c.ProducerID(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	truncated := rawBatch(rawOptions{value: []byte("cut")})
	for _, test := range []struct {
		name      string
		topic     string
		partition int32
		batch     []byte
		want      *kerr.Error
	}{
		{"sound", "events", 0, rawBatch(rawOptions{value: []byte("one")}), nil},
		{"bad CRC", "events", 0, rawBatch(rawOptions{badCRC: true}), kerr.CorruptMessage},
		{"cut batch", "events", 0, truncated[:len(truncated)-2], kerr.InvalidRecord},
		{"oversized", "events", 0, rawBatch(rawOptions{value: make([]byte, 2<<20)}), kerr.MessageTooLarge},
		{"control batch", "events", 0, rawBatch(rawOptions{attributes: 1 << 5}), kerr.InvalidRecord},
		{"unknown topic", "nothing", 0, rawBatch(rawOptions{}), kerr.UnknownTopicOrPartition},
		{"unknown partition", "events", 5, rawBatch(rawOptions{}), kerr.UnknownTopicOrPartition},
		{"first sequence", "events", 0, rawBatch(rawOptions{producer: id, epoch: epoch, sequence: 0, value: []byte("two")}), nil},
		{"the same again", "events", 0, rawBatch(rawOptions{producer: id, epoch: epoch, sequence: 0, value: []byte("two")}), nil},
		{"sequence with a gap", "events", 0, rawBatch(rawOptions{producer: id, epoch: epoch, sequence: 5}), kerr.OutOfOrderSequenceNumber},
		{"next sequence", "events", 0, rawBatch(rawOptions{producer: id, epoch: epoch, sequence: 1, value: []byte("three")}), nil},
	} {
		code := produceRaw(t, node.Kafka, test.topic, test.partition, test.batch)
		if got := kerr.ErrorForCode(code); code != 0 && test.want == nil || test.want != nil && test.want.Code != code {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	var values []string
	for _, r := range readAll(t, node.Kafka, "events")[0] {
		values = append(values, string(r.Value))
	}
	if len(values) != 3 || values[0] != "one" || values[1] != "two" || values[2] != "three" {
		t.Errorf("the log holds %q", values)
	}
}

func TestTheTopicsLimitOfMessageSizeIsKept(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	createTopic(t, node.Kafka, "events", 1)
	c := client(t, node.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(8<<20), kgo.BrokerMaxWriteBytes(32<<20))
	large := &kgo.Record{Topic: "events", Value: make([]byte, 3<<20)}
	if err := c.ProduceSync(deadline(t), large).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("3 MiB: %v, want %v", err, kerr.MessageTooLarge)
	}
	produce(t, client(t, node.Kafka), numbered("events", 0, "small", 1)...)
	if n := ends(t, node.Kafka, "events")[0]; n != 1 {
		t.Errorf("the end is %d", n)
	}
}
