package listener_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

func TestBadFramesCloseTheirConnectionOnly(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	bystander := f.dial(t)
	bystander.Send(versions())
	expectAnswer(t, bystander)
	head, rest := listenertest.Head, make([]byte, 64)
	for _, tc := range []struct {
		name, reason string
		bytes        []byte
	}{
		{"negative size", "frame_size", head(-1, 18, 0)},
		{"lowest size", "frame_size", head(math.MinInt32, 18, 0)},
		{"empty", "frame_size", head(0, 18, 0)},
		{"shorter than a header", "frame_size", head(7, 18, 0)},
		{"over 100 MiB", "frame_size", head(100<<20+1, 0, 8)},
		{"over the limit of its key", "frame_size", head(listener.PlainFrame+1, 18, 0)},
		{"TLS", "frame_size", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
		{"HTTP", "frame_size", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"unknown key", "unknown_key", append(head(64, 9999, 0), rest...)},
		{"negative key", "unknown_key", append(head(64, -1, 0), rest...)},
		{"key that is not served", "unknown_key", append(head(64, 68, 0), rest...)},
		{"version too high", "unsupported_version", append(head(64, 3, 99), rest...)},
		{"version too low", "unsupported_version", append(head(64, 1, 3), rest...)},
		{"negative version", "unsupported_version", append(head(64, 3, -1), rest...)},
		{"client id beyond the frame", "malformed", append(head(10, 18, 0), 0, 0, 0, 1, 0x7f, 0xff)},
		{"no client id", "malformed", append(head(8, 18, 0), 0, 0, 0, 1)},
		{"body cut short", "malformed", append(head(11, 3, 1), 0, 0, 0, 1, 0xff, 0xff, 0)},
		{"half a frame", "", head(64, 3, 1)},
		{"half a size", "", []byte{0, 0}},
		{"nothing", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := f.counts.RefusedFor(tc.reason)
			c := f.dial(t)
			c.Send(tc.bytes)
			if tc.reason == "" {
				c.Conn.(*net.TCPConn).CloseWrite()
			}
			c.ExpectClosed()
			f.counts.AwaitOpen(t, 1)
			if tc.reason != "" && f.counts.RefusedFor(tc.reason) != before+1 {
				t.Errorf("not counted as %s", tc.reason)
			}
		})
	}
	bystander.Send(versions())
	expectAnswer(t, bystander)
	if n := strings.Count(f.lines.String(), "frame_size"); n > 0 || strings.Count(f.lines.String(), "\n") > 8 {
		t.Errorf("log is not held back:\n%s", f.lines)
	}
	if !strings.Contains(f.lines.String(), "frame size out of range") {
		t.Errorf("log does not say why:\n%s", f.lines)
	}
}

func TestTrickledFramesAreCutOff(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{FrameGrace: 30 * time.Millisecond, MinReadRate: 1 << 30}, around())
	c := f.dial(t)
	for _, b := range append(listenertest.Head(1000, 18, 0), make([]byte, 992)...) {
		if _, err := c.Write([]byte{b}); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	f.counts.AwaitOpen(t, 0)
	if n := f.counts.RefusedFor("slow_sender"); n != 1 {
		t.Errorf("%d clients were refused for sending slowly", n)
	}
}

// heapNow is the live heap in bytes.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// leastHeap is heapNow while much is allocated and freed: garbage that is made during a
// collection counts until the next one.
func leastHeap() uint64 {
	least := heapNow()
	for range 9 {
		time.Sleep(10 * time.Millisecond)
		least = min(least, heapNow())
	}
	return least
}

func TestAnnouncedFramesCostNoMemoryUntilTheyArrive(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	before := heapNow()
	const n = 200
	for range n {
		f.dial(t).Send(append(listenertest.Head(100<<20, 0, 8), make([]byte, 100)...))
	}
	f.counts.AwaitOpen(t, n)
	if after := heapNow(); after > before+n*(32<<10) {
		t.Errorf("%d announced frames of 100 MiB cost %d bytes", n, after-before)
	}
}

func TestFlightOfPipelinedRequestsIsAnsweredInBoundedMemory(t *testing.T) {
	f := (&fake{}).start(t, listener.Config{}, around())
	c := f.dial(t)
	const n = 100_000
	before := heapNow()
	go func() {
		flight := bytes.Repeat(versions(), 100)
		for i := 0; i < n; i += 100 {
			if _, err := c.Write(flight); err != nil {
				return
			}
		}
	}()
	time.Sleep(50 * time.Millisecond) // the client does not read: the server must stop by itself
	if after := heapNow(); after > before+32<<20 {
		t.Errorf("answers that are not read take %d bytes", after-before)
	}
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // however slow the machine is
	in := bufio.NewReader(c)
	for i := range n {
		var h [8]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if _, err := in.Discard(int(binary.BigEndian.Uint32(h[:])) - 4); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

func TestRequestMemoryHoldsBackProducers(t *testing.T) {
	f := (&fake{held: make(chan *listener.Request, 10)}).start(t, listener.Config{MaxRequestBytes: 4 << 20, RequestMemory: 4 << 20}, around())
	frame := produce(3 << 20)
	clients := make([]*listenertest.Client, 4)
	for i := range clients {
		clients[i] = f.dial(t)
		go clients[i].Write(frame) // blocks while the server does not read
	}
	r := <-f.held
	select {
	case <-f.held:
		t.Fatal("two requests of 3 MiB are under way in 4 MiB")
	case <-time.After(20 * time.Millisecond):
	}
	for range len(clients) - 1 {
		answer(r)
		r = <-f.held
	}
	answer(r)
	for _, c := range clients {
		expectAnswer(t, c)
		c.Close()
	}
	f.counts.AwaitOpen(t, 0)
	if part := listenertest.MemoryUsed(f.server); part != "" {
		t.Errorf("%s memory was not given back", part)
	}
}
