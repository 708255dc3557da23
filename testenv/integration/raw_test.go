package integration

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/batch"
)

// rawOptions are the unusual fields of a batch.
type rawOptions struct {
	attributes int16
	badCRC     bool
	producer   int64 // 0: none
	epoch      int16
	sequence   int32
	value      []byte
}

// rawBatch encodes a record batch v2 of one record, by the layout in Kafka's
// protocol guide, without help from the code under test.
func rawBatch(o rawOptions) []byte {
	record := []byte{0}           // attributes
	record = append(record, 0, 0) // timestamp and offset deltas
	record = append(record, 1)    // no key: length -1, zigzag
	record = binary.AppendVarint(record, int64(len(o.value)))
	record = append(record, o.value...)
	record = append(record, 0) // no headers
	record = append(binary.AppendVarint(nil, int64(len(record))), record...)

	if o.producer == 0 {
		o.producer, o.epoch, o.sequence = -1, -1, -1
	}
	const now = 1_700_000_000_000
	checked := binary.BigEndian.AppendUint16(nil, uint16(o.attributes))
	checked = binary.BigEndian.AppendUint32(checked, 0) // last offset delta
	checked = binary.BigEndian.AppendUint64(checked, now)
	checked = binary.BigEndian.AppendUint64(checked, now)
	checked = binary.BigEndian.AppendUint64(checked, uint64(o.producer))
	checked = binary.BigEndian.AppendUint16(checked, uint16(o.epoch))
	checked = binary.BigEndian.AppendUint32(checked, uint32(o.sequence))
	checked = binary.BigEndian.AppendUint32(checked, 1) // records
	checked = append(checked, record...)
	crc := crc32.Checksum(checked, crc32.MakeTable(crc32.Castagnoli))
	if o.badCRC {
		crc++
	}
	batch := binary.BigEndian.AppendUint64(nil, 0)                           // base offset
	batch = binary.BigEndian.AppendUint32(batch, uint32(4+1+4+len(checked))) // length
	batch = binary.BigEndian.AppendUint32(batch, 0)                          // leader epoch
	batch = append(batch, 2)                                                 // magic
	batch = binary.BigEndian.AppendUint32(batch, crc)
	return append(batch, checked...)
}

// produceRaw sends a batch as it is, with acks=all, and returns the error code.
func produceRaw(t testing.TB, address, topic string, partition int32, records []byte) int16 {
	t.Helper()
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis = -1, 30_000
	toTopic := kmsg.NewProduceRequestTopic()
	toPartition := kmsg.NewProduceRequestTopicPartition()
	toTopic.Topic, toPartition.Partition, toPartition.Records = topic, partition, records
	toTopic.Partitions = append(toTopic.Partitions, toPartition)
	request.Topics = append(request.Topics, toTopic)
	answer := dial(t, address).ask(t, request, 9).(*kmsg.ProduceResponse)
	return answer.Topics[0].Partitions[0].ErrorCode
}

// connection is a client that sends bytes as the test gives them.
type connection struct{ net.Conn }

func dial(t testing.TB, address string) connection {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return connection{c}
}

// ask sends a request of a version and reads the answer.
func (c connection) ask(t testing.TB, request kmsg.Request, version int16) kmsg.Response {
	t.Helper()
	request.SetVersion(version)
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, request, 1)); err != nil {
		t.Fatal(err)
	}
	body := c.read(t)
	answer := request.ResponseKind()
	if answer.IsFlexible() && request.Key() != int16(kmsg.ApiVersions) {
		body = body[1:] // no tags in the header
	}
	if err := answer.ReadFrom(body); err != nil {
		t.Fatalf("decode the answer to %s: %v", kmsg.NameForKey(request.Key()), err)
	}
	return answer
}

// ended reports how the node ends a connection: true if it closes it without
// an answer.
func (c connection) ended(t testing.TB) bool {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the node keeps the connection open")
	}
	return n == 0 && err != nil
}

// read reads an answer and returns the bytes after its correlation id.
func (c connection) read(t testing.TB) []byte {
	t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatalf("read an answer: %v", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > 100<<20 {
		t.Fatalf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatalf("read an answer: %v", err)
	}
	return body[4:]
}

// rawValues are the values in batches that are not compressed.
func rawValues(t testing.TB, batches []byte) (values []string) {
	t.Helper()
	err := batch.Walk(batches, func(at int, h batch.Header) error {
		if !batch.CheckCRC(batches[at:at+h.Size()], h) {
			t.Errorf("the batch at offset %d has a wrong CRC", h.BaseOffset)
		}
		return batch.Records(batches[at:at+h.Size()], 1<<20, func(r batch.Record) bool {
			values = append(values, string(r.Value))
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}
