package kafka

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// Each way in which a Produce ends releases its frame once, and not before the journal
// has answered.
func TestEachFrameOfProduceIsReleasedOnce(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	b := c.backend()
	held := holdAppends(&b)
	server := start(t, c, Config{}, b)
	value := string(bytes.Repeat([]byte("v"), 20_000))
	good := batchtest.Spec{Records: batchtest.Values(1, value)}
	bad := produceOne(topic, -1, good)
	bad.Topics[0].Partitions[0].Records[100] ^= 1
	unknown := produceOne(topic, -1, good)
	unknown.Topics[0].Partitions[0].Partition = 7

	refused := server.dial(t)
	for _, req := range []*kmsg.ProduceRequest{bad, unknown} {
		refused.Send(listenertest.Encode(req, 1))
		if _, _, err := refused.Frame(); err != nil {
			t.Fatal(err)
		}
	}
	pipelining := server.dial(t)
	for _, acks := range []int16{-1, 1, 0, -1} {
		pipelining.Send(listenertest.Encode(produceOne(topic, acks, good), 1))
	}
	var calls []heldAppend
	for range 4 {
		calls = append(calls, <-held.calls)
	}
	gone := server.dial(t)
	gone.Send(listenertest.Encode(produceOne(topic, -1, good), 1))
	late := <-held.calls
	gone.Close()
	hungUp := server.dial(t)
	hungUp.Send(listenertest.Encode(produceOne(topic, 0, good), 1))
	(<-held.calls).done([]ingest.Result{{Err: ingest.ErrNotLeader}})
	hungUp.ExpectClosed()

	for _, call := range append(calls, late) { // their memory is not used for others yet
		if got := call.batches[0]; !bytes.Contains(got.Memory.Bytes(), got.Data) || !bytes.Contains(got.Data, []byte(value)) {
			t.Error("a frame was released before its journal answered")
		}
	}
	if b.Memory.InUse() == 0 {
		t.Error("frames under way are not in the pool's memory")
	}
	for _, call := range append(calls, late) {
		call.done(make([]ingest.Result, 1))
	}
	server.server.Close()
	if n := b.Memory.InUse(); n != 0 {
		t.Errorf("%d bytes of frames were not released", n)
	}
}
