package integration

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// digest is the checksum of a partition's records, in order.
type digest struct {
	records int
	sum     hash.Hash64
}

func (d *digest) add(key, value []byte) {
	var sizes [8]byte // or a byte could move from key to value
	binary.BigEndian.PutUint32(sizes[:], uint32(len(key)))
	binary.BigEndian.PutUint32(sizes[4:], uint32(len(value)))
	d.sum.Write(sizes[:])
	d.sum.Write(key)
	d.sum.Write(value)
	d.records++
}

func (d *digest) String() string {
	return fmt.Sprintf("%d records, checksum %x", d.records, d.sum.Sum64())
}

func newDigests(partitions int) []digest {
	digests := make([]digest, partitions)
	for i := range digests {
		digests[i].sum = fnv.New64a()
	}
	return digests
}

func TestAMillionRecordsOnTwelvePartitionsAreReadBackEqual(t *testing.T) {
	t.Parallel()
	total := 1_000_000
	if testing.Short() {
		total = 50_000
	}
	onStores(t, func(t *testing.T, b bucket) {
		const topic, partitions = "million", 12
		node := b.start(t)
		createTopic(t, node.Kafka, topic, partitions)
		began := time.Now()
		written := writeMany(t, node.Kafka, topic, partitions, total)
		wrote := time.Now()
		read := newDigests(partitions)
		readEach(t, node.Kafka, topic, func(r *kgo.Record) { read[r.Partition].add(r.Key, r.Value) })
		t.Logf("%d records written in %v, read in %v", total, wrote.Sub(began), time.Since(wrote))
		for i := range written {
			if got, want := read[i].String(), written[i].String(); got != want {
				t.Errorf("partition %d: read %s; written %s", i, got, want)
			}
		}
	})
}

// writeMany writes total records as fast as the client can and returns the
// digest of the records of each partition.
func writeMany(t *testing.T, address, topic string, partitions, total int) []digest {
	t.Helper()
	written := newDigests(partitions)
	c := client(t, address, kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(50_000),
		kgo.ProducerLinger(5*time.Millisecond), kgo.RequiredAcks(kgo.AllISRAcks()))
	defer c.Close()
	var failed atomic.Pointer[error]
	ctx := deadline(t)
	for i := range total {
		partition := i * 7 % partitions
		key := binary.BigEndian.AppendUint32(nil, uint32(i))
		value := fmt.Appendf(nil, "%0*d", 20+i%60, i)
		written[partition].add(key, value)
		c.Produce(ctx, &kgo.Record{Partition: int32(partition), Key: key, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
	if err := failed.Load(); err != nil {
		t.Fatalf("produce: %v", *err)
	}
	return written
}
