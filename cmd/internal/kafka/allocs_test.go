package kafka

import (
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// The allocations of the hot path of Produce, from the socket to the journal and back:
// of a request, and of each further partition in it. These are ratchets: an allocation
// a request more costs a percent at a hundred thousand requests a second. Lower them
// when there are fewer.
const (
	maxRequestAllocs   = 31 // a request with one partition
	maxPartitionAllocs = 3  // each further partition
)

func TestProduceAllocatesLittle(t *testing.T) {
	one := produceAllocs(t, 1)
	many := produceAllocs(t, 101)
	t.Logf("%.1f allocations with one partition, %.2f with each more", one, (many-one)/100)
	if one > maxRequestAllocs {
		t.Errorf("a Produce request with one partition takes %.1f allocations, at most %d", one, maxRequestAllocs)
	}
	if each := (many - one) / 100; each > maxPartitionAllocs {
		t.Errorf("each further partition takes %.2f allocations, at most %d", each, maxPartitionAllocs)
	}
}

// A large frame lies in memory that a frame before it used. The first ones may still
// allocate, and so may a frame whose memory the writer of answers gives back late.
const maxLargeBytes = 16 << 10

func TestALargeProduceAllocatesNoFrame(t *testing.T) {
	for _, size := range []int{64 << 10, 1 << 20} {
		send := producer(t, 1, size)
		for range 10 {
			send()
		}
		const n = 50
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			send()
		}
		runtime.ReadMemStats(&after)
		each := (after.TotalAlloc - before.TotalAlloc) / n
		t.Logf("%d bytes are allocated for a batch of %d", each, size)
		if limit := uint64(min(maxLargeBytes, size/4)); each > limit {
			t.Errorf("a batch of %d bytes allocates %d, at most %d", size, each, limit)
		}
	}
}

func produceAllocs(t *testing.T, partitions int) float64 {
	return testing.AllocsPerRun(200, producer(t, partitions, 1000))
}

// producer returns a function that sends a request with one batch of size bytes for each
// of some partitions, and awaits the answer of a server whose journals keep nothing.
func producer(t *testing.T, partitions, size int) (send func()) {
	c := newCluster()
	topic := c.addTopic(t, "events", partitions, nil)
	backend := c.backend()
	backend.Appender = func(uint32) Appender { return discard{} }
	cl := start(t, c, Config{}, backend).dial(t)
	req := produceOne(topic, -1, batchtest.Spec{Records: batchtest.Values(1, strings.Repeat("x", size))})
	in := &req.Topics[0]
	for p := 1; p < partitions; p++ {
		more := kmsg.NewProduceRequestTopicPartition()
		more.Partition, more.Records = int32(p), in.Partitions[0].Records
		in.Partitions = append(in.Partitions, more)
	}
	frame := listenertest.Encode(req, 1)
	answer := make([]byte, 1<<20)
	return func() {
		if _, err := cl.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(cl.Conn, answer[:4]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(cl.Conn, answer[:binary.BigEndian.Uint32(answer)]); err != nil {
			t.Fatal(err)
		}
	}
}
