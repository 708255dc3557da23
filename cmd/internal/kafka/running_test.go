package kafka

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

// testListener is the name of the listener that most tests use.
const testListener = "TEST"

// running is a server on two loopback ports.
type running struct {
	server *listener.Server
	counts *listenertest.Counts
	addr   string // of the listener TEST
	inside string // of another one
	stop   context.CancelFunc
	done   chan error
}

// start runs a server on cluster c until the test ends.
func start(t testing.TB, c *cluster, config Config, b Backend) *running {
	t.Helper()
	return startGuarded(t, c, config, b, allowFunc(allowAll))
}

// startGuarded is start with an authorizer.
func startGuarded(t testing.TB, c *cluster, config Config, b Backend, may authorizer) *running {
	t.Helper()
	return startSecure(t, c, config, b, may, listener.Security{})
}

// startSecure is startGuarded with security on the listener TEST.
func startSecure(t testing.TB, c *cluster, config Config, b Backend, may authorizer, security listener.Security) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.host, c.port = "127.0.0.1", int32(ln.Addr().(*net.TCPAddr).Port)
	counts := listenertest.CountInto(b.Metrics)
	b.Metrics = counts
	s, err := newServer(config, b, may)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{server: s, counts: counts, addr: ln.Addr().String(), inside: inside.Addr().String(), stop: cancel, done: make(chan error, 1)}
	go func() {
		r.done <- s.Serve(ctx, listener.Endpoint{Name: testListener, Listener: ln, Security: security}, listener.Endpoint{Name: "INSIDE", Listener: inside})
	}()
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
	if part := listenertest.MemoryUsed(r.server); part != "" {
		t.Errorf("%s memory was not given back", part)
	}
}

// client sends requests and reads their answers.
type client struct {
	*listenertest.Client
	t  testing.TB
	id int32
}

func (r *running) dial(t testing.TB) *client {
	t.Helper()
	return &client{Client: listenertest.Dial(t, r.addr), t: t}
}

func (c *client) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.id++
	c.Send(listenertest.Encode(req, c.id))
	return c.id
}

// receive reads the answer to req, which must be the one with that id.
func (c *client) receive(req kmsg.Request, id int32) kmsg.Response {
	c.t.Helper()
	got, b, err := c.Frame()
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
