package listener_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

// besiege starts a server with little memory.
func besiege(t *testing.T, f *fake) *fake {
	return f.start(t, listener.Config{MaxRequestBytes: 16 << 20, RequestMemory: 64 << 20}, around())
}

// attack opens connections that announce a frame of size bytes, send some of it, and
// go on with a byte each second if they trickle.
func (f *fake) attack(t *testing.T, connections int, size int32, sent int, trickle bool) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for range connections {
		c := f.dial(t)
		go func() {
			frame := append(listenertest.Head(size, 0, 8), 0, 0, 0, 1, 0, 4, 'e', 'v', 'i', 'l')
			if _, err := c.Write(append(frame, make([]byte, max(0, sent-len(frame)))...)); err != nil {
				return
			}
			for trickle {
				select {
				case <-time.After(time.Second):
				case <-stop:
					return
				}
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
			}
		}()
	}
}

// goesOn fails unless a client can send size bytes, and ask for small answers.
func (f *fake) goesOn(t *testing.T, size int) {
	t.Helper()
	listenertest.ExpectAnswers(t, f.addr, produce(size), versions(), one())
}

// TestFramesThatDoNotArriveStopNoClient: however much of a frame is announced, or sent
// and then no more, others go on. A client that holds memory which others need is cut
// off, and named.
func TestFramesThatDoNotArriveStopNoClient(t *testing.T) {
	for name, attack := range map[string]struct {
		size    int32
		sent    int
		trickle bool
		cuts    bool // they can use all of a part
	}{
		"only announced":       {size: 16 << 20, sent: 8},
		"a tiny part":          {size: 16 << 20, sent: 4 << 10},
		"a quarter":            {size: 16 << 20, sent: 4 << 20},
		"almost all":           {size: 4 << 20, sent: 4<<20 - 100, cuts: true},
		"almost all, trickled": {size: 4 << 20, sent: 4<<20 - 100, trickle: true, cuts: true},
		"small ones":           {size: 1 << 20, sent: 200 << 10},
		"small ones, trickled": {size: 128 << 10, sent: 120 << 10, trickle: true, cuts: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := besiege(t, &fake{})
			f.attack(t, 80, attack.size, attack.sent, attack.trickle)
			if attack.cuts {
				listenertest.AwaitShortage(t, f.server)
			}
			f.goesOn(t, 100)
			f.goesOn(t, 100<<10)
			f.goesOn(t, 3<<20)
			for range 10_000 { // on a busy machine their bytes arrive late
				if !attack.cuts || f.counts.RefusedFor("holds_memory") > 0 && strings.Contains(f.lines.String(), "requests wait for memory") {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if cut := f.counts.RefusedFor("holds_memory"); cut == 0 && attack.cuts || cut > 0 && attack.sent <= 4<<10 {
				t.Errorf("%d connections were cut", cut)
			}
			if attack.cuts && !strings.Contains(f.lines.String(), "requests wait for memory") {
				t.Errorf("log does not say what holds the memory:\n%s", f.lines)
			}
		})
	}
}

// TestAnswersThatAreNotReadStopNoClient: a small request may ask for a large answer.
func TestAnswersThatAreNotReadStopNoClient(t *testing.T) {
	f := besiege(t, &fake{large: 400 << 10})
	c := f.dial(t)
	c.Send(everything()) // the server knows how large the answers are
	expectAnswer(t, c)
	before := heapNow()
	flight := bytes.Repeat(everything(), inFlight)
	for range 80 {
		c := f.dial(t)
		go c.Write(flight)
	}
	listenertest.AwaitShortage(t, f.server)
	if after := leastHeap(); after > before+200<<20 { // 16 MiB for each client without a bound
		t.Errorf("answers that are not read take %d bytes", after-before)
	}
	f.goesOn(t, 100)
	for tries := 0; f.counts.RefusedFor("takes_slowly") == 0; tries++ {
		if tries == 10_000 {
			t.Fatal("no client is cut")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestAnswersThatWaitHoldTheirOwnSize: small answers behind one that waits for the bucket
// do not hold memory for large ones, which others need.
func TestAnswersThatWaitHoldTheirOwnSize(t *testing.T) {
	f := besiege(t, &fake{large: 400 << 10, held: make(chan *listener.Request, 1)})
	c := f.dial(t)
	c.Send(everything())
	expectAnswer(t, c)
	first := f.dial(t)
	first.Send(produce(10))
	r := <-f.held
	for range 40 {
		first.Send(one())
	}
	other := f.dial(t)
	for range 40 { // by then, those before have been begun
		other.Send(one())
		expectAnswer(t, other)
	}
	answer(r)
}
