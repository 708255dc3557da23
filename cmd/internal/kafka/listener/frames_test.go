package listener_test

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

// The end of each server of these tests checks that all frames were released.

func TestFramesThatNoHandlerGetsAreReleased(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	whole := produce(100_000)
	half := f.dial(t)
	half.Send(whole[:50_000])
	half.Close()
	malformed := f.dial(t)
	broken := produce(20_000)
	copy(broken[12:], "\x7f\xff") // the length of the client id is beyond the frame
	malformed.Send(broken)
	malformed.ExpectClosed()
	f.counts.AwaitOpen(t, 0)
	if n := f.memory.InUse(); n != 0 {
		t.Errorf("%d bytes of frames were not released", n)
	}
}

func TestAFrameIsHeldUntilItsRequestIsAnswered(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 10)}).start(t, listener.Config{}, around())
	mark := func(b byte) []byte { return bytes.Repeat([]byte{b}, 30_000) }
	var held []*listener.Request
	for i := range byte(4) { // the clients do not wait
		c := f.dial(t)
		c.Send(listenertest.Encode(&kmsg.ProduceRequest{Version: 8, Topics: []kmsg.ProduceRequestTopic{{
			Partitions: []kmsg.ProduceRequestTopicPartition{{Records: mark(i)}},
		}}}, 1))
		held = append(held, <-f.held)
		c.Close()
		f.counts.AwaitOpen(t, 0)
	}
	for i, r := range held {
		records := r.Body.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
		if !bytes.Equal(records, mark(byte(i))) || !bytes.Contains(r.Memory().Bytes(), records) {
			t.Errorf("the frame of request %d is used for others", i)
		}
	}
	held[0].ReplyNothing()
	held[1].HangUp(listener.ErrUnacked)
	answer(held[2])
	kept := held[3].Memory().Retain()
	answer(held[3])
	if !bytes.Contains(kept.Bytes(), mark(3)) {
		t.Error("a frame that was retained is used for others")
	}
	kept.Release()
}
