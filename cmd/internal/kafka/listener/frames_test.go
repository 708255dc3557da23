package listener_test

import (
	"bytes"
	"runtime"
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

// The holder of a part of a large frame can see how much memory it keeps.
func TestALargeFrameHasMemoryThatThePoolDoesNotKeep(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 1)}).start(t, listener.Config{}, around())
	c := f.dial(t)
	c.Send(produce(20 << 20))
	r := <-f.held
	if n := len(r.Memory().Bytes()); n < 20<<20 {
		t.Errorf("%d bytes of memory", n)
	}
	answer(r)
	expectAnswer(t, c)
	if n := f.memory.Free(); n > 32<<20 { // those of the steps up to 16 MiB
		t.Errorf("%d bytes are kept", n)
	}
}

// A connection that delivered a frame gets the next one without copies from step to step,
// but does not fill the memory that others need.
func TestAProvenFrameTakesItsMemoryAtOnceWhileHalfStaysFree(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 2)}).start(t, listener.Config{MaxRequestBytes: 1 << 20, RequestMemory: 8 << 20}, around())
	c := f.dial(t)
	frame := produce(300_000) // the memory for small frames is 1 MiB
	c.Send(frame)
	answer(<-f.held)
	expectAnswer(t, c)
	for listenertest.MemoryUsed(f.server) != "" { // the charge is given back after the answer
		runtime.Gosched()
	}
	begin := func() (taken int64) {
		before := f.memory.InUse()
		c.Send(frame[:6000])
		for taken == 0 {
			taken = f.memory.InUse() - before
			runtime.Gosched()
		}
		return taken
	}
	if n := begin(); n < 300_000 {
		t.Errorf("the first step is %d bytes", n)
	}
	c.Send(frame[6000:])
	first := <-f.held
	if n := begin(); n > 50_000 {
		t.Errorf("%d bytes are taken, though less than half stays free", n)
	}
	c.Send(frame[6000:])
	answer(first)
	answer(<-f.held)
}
