// Package listenertest has a client that speaks raw frames, and observers for tests of
// a listener and of its handlers: of log lines, connections and memory.
//
// It promises that a client waits for at most a minute. It never checks the content of
// an answer. It is not for use outside tests.
package listenertest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// Client is one connection.
type Client struct {
	net.Conn
	t testing.TB
}

// Dial connects to a listener until the test ends.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &Client{Conn: nc, t: t}
}

// Send writes bytes, and ends the test if that fails.
func (c *Client) Send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// Frame reads one response frame: its correlation id and the rest.
func (c *Client) Frame() (int32, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err := io.ReadFull(c, b)
	return int32(binary.BigEndian.Uint32(head[4:])), b, err
}

// ExpectClosed fails unless the server closes the connection without another byte.
func (c *Client) ExpectClosed() {
	c.t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("connection is open: read %d bytes, error %v", n, err)
	}
}

// Encode is the frame of a request of the client "test".
func Encode(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

// Head is the start of a frame.
func Head(size int32, key, version int16) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	return binary.BigEndian.AppendUint16(b, uint16(version))
}

// Lines keeps log lines.
type Lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Counts is Metrics that counts connections and refusals, and passes all on.
type Counts struct {
	listener.Metrics
	mu      sync.Mutex
	open    int
	opened  int
	refused map[string]int
}

// CountInto returns counts that pass on to m, which may be nil.
func CountInto(m listener.Metrics) *Counts {
	if m == nil {
		m = listener.NoMetrics{}
	}
	return &Counts{Metrics: m, refused: map[string]int{}}
}

// Connections implements listener.Metrics.
func (c *Counts) Connections(delta int) {
	c.mu.Lock()
	c.open += delta
	c.opened += max(delta, 0)
	c.mu.Unlock()
	c.Metrics.Connections(delta)
}

// Refused implements listener.Metrics.
func (c *Counts) Refused(reason string) {
	c.mu.Lock()
	c.refused[reason]++
	c.mu.Unlock()
	c.Metrics.Refused(reason)
}

// RefusedFor returns how many connections were refused for a reason.
func (c *Counts) RefusedFor(reason string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[reason]
}

// Open returns how many connections are open.
func (c *Counts) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// AwaitOpen waits until so many connections are open, once there was one.
func (c *Counts) AwaitOpen(t testing.TB, want int) {
	t.Helper()
	for range 5000 {
		c.mu.Lock()
		open, opened := c.open, c.opened
		c.mu.Unlock()
		if opened > 0 && open == want {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("connections do not come to %d", want)
}

// MemoryUsed names a part of the memory of requests of which some is taken.
func MemoryUsed(s *listener.Server) string {
	for _, part := range s.Memory() {
		if part.Taken != 0 || part.Waiting > 0 {
			return part.Part
		}
	}
	return ""
}

// AwaitShortage waits until requests wait for memory.
func AwaitShortage(t testing.TB, s *listener.Server) {
	t.Helper()
	for range 10_000 {
		if slices.ContainsFunc(s.Memory(), func(p listener.PartUse) bool { return p.Waiting > 0 }) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("memory is not used up")
}

// ExpectAnswers fails unless each frame is answered, five times in turn. A client whose
// connection is closed tries again with another one, as real clients do.
func ExpectAnswers(t testing.TB, addr string, frames ...[]byte) {
	t.Helper()
	c := Dial(t, addr)
	for done, tries := 0, 0; done < 5*len(frames); {
		_, err := c.Write(frames[done%len(frames)])
		if err == nil {
			_, _, err = c.Frame()
		}
		if err == nil {
			done++
			continue
		}
		if tries++; tries == 20 {
			t.Fatalf("frames of %d bytes are not answered: %v", len(frames[0]), err)
		}
		c.Close()
		c = Dial(t, addr)
	}
	c.Close()
}
