package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// running is a server on a loopback port.
type running struct {
	server      *listener.Server
	connections *openConnections
	addr        string
	stop        context.CancelFunc
	done        chan error
}

// start runs a server on cluster c until the test ends.
func start(t testing.TB, c *cluster, config Config, b Backend) *running {
	t.Helper()
	return startGuarded(t, c, config, b, allowAll)
}

// startGuarded is start with an authorizer.
func startGuarded(t testing.TB, c *cluster, config Config, b Backend, allows func(*listener.Client, operation, aclResource) bool) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.host, c.port = "127.0.0.1", int32(ln.Addr().(*net.TCPAddr).Port)
	if b.Metrics == nil {
		b.Metrics = listener.NoMetrics{}
	}
	connections := &openConnections{Metrics: b.Metrics}
	b.Metrics = connections
	s, err := newServer(config, b, allows)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{server: s, connections: connections, addr: ln.Addr().String(), stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Serve(ctx, listener.Endpoint{Name: "TEST", Listener: ln}) }()
	t.Cleanup(func() {
		cancel()
		s.Close()
		r.expectMemoryUnused(t)
	})
	return r
}

// expectMemoryUnused fails unless all memory of requests was given back.
func (r *running) expectMemoryUnused(t testing.TB) {
	t.Helper()
	if part := r.memoryUsed(); part != "" {
		t.Errorf("%s memory was not given back", part)
	}
}

// memoryUsed names a part of the memory of requests of which some is taken.
func (r *running) memoryUsed() string {
	for _, part := range r.server.Memory() {
		if part.Taken != 0 || part.Waiting > 0 {
			return part.Part
		}
	}
	return ""
}

// client speaks raw frames.
type client struct {
	t  testing.TB
	nc net.Conn
	id int32
}

func (r *running) dial(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &client{t: t, nc: nc}
}

func (c *client) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.id++
	if _, err := c.nc.Write(encodeRequest(req, c.id)); err != nil {
		c.t.Fatal(err)
	}
	return c.id
}

func encodeRequest(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

// frame reads one response frame: its correlation id and the bytes after it.
func (c *client) frame() (int32, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.nc, head[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err := io.ReadFull(c.nc, b)
	return int32(binary.BigEndian.Uint32(head[4:])), b, err
}

// receive reads the answer to req, which must be the one with that id.
func (c *client) receive(req kmsg.Request, id int32) kmsg.Response {
	c.t.Helper()
	got, b, err := c.frame()
	if err != nil {
		c.t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	if got != id {
		c.t.Fatalf("answer has correlation id %d, want %d", got, id)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != kmsg.ApiVersions.Int16() {
		if b[0] != 0 {
			c.t.Fatalf("%T v%d: response header has tags", req, req.GetVersion())
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("%T v%d: decode answer: %v", req, req.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, b) {
		c.t.Fatalf("%T v%d: answer of %d bytes decodes to one of %d", req, req.GetVersion(), len(b), len(again))
	}
	return resp
}

func (c *client) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	return c.receive(req, c.send(req))
}

// expectClosed fails unless the server closes the connection without another byte.
func (c *client) expectClosed() {
	c.t.Helper()
	n, err := c.nc.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("connection is open: read %d bytes, error %v", n, err)
	}
}

// logBuffer keeps log lines.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// inFlight is how many requests of a connection the listener lets be under way.
const inFlight = 128

// openConnections counts the connections that are open.
type openConnections struct {
	listener.Metrics
	open   atomic.Int32
	opened atomic.Bool // one was, at some time
}

func (c *openConnections) Connections(delta int) {
	c.open.Add(int32(delta))
	c.opened.Store(true)
	c.Metrics.Connections(delta)
}

func (r *running) waitForConns(t *testing.T, want int) {
	t.Helper()
	for range 5000 {
		if r.connections.opened.Load() && r.connections.open.Load() == int32(want) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("connections do not come to %d", want)
}
