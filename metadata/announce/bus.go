package announce

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// ErrClosed is returned by Subscribe after Close.
var ErrClosed = errors.New("announcement bus is closed")

// Options of a NATS bus. Cluster and Log must be set.
type Options struct {
	Cluster segment.ID // announcements of other clusters are ignored
	Log     *slog.Logger

	// RouteListen is the host:port at which the embedded server meets those of other nodes,
	// "" if it does not. Routes are the host:port of some of them, which need not be up.
	// Its own among them does no harm.
	RouteListen string
	Routes      []string

	// Credentials is the path of a credentials file for servers elsewhere, CA that of the
	// certificates that theirs are checked against; "" for none.
	Credentials, CA string
}

// Client timing. Reconnecting goes on forever.
const (
	reconnectWait  = 500 * time.Millisecond
	connectTimeout = 2 * time.Second
	writeTimeout   = 2 * time.Second
	pingInterval   = 10 * time.Second
	pendingMsgs    = 4096
	pendingBytes   = 1 << 20
)

// Stats are the counters of a NATS bus since it was opened.
type Stats struct {
	Connected bool
	Published uint64 // handed to the NATS client
	Dropped   uint64 // not published, because NATS was away
	Received  uint64 // understood, before coalescing, by all subscriptions
	Refused   uint64 // not understood, of another cluster, or too many
}

// NATS carries announcements between the nodes of a cluster, by a NATS server, embedded
// or elsewhere. All methods may be called concurrently.
type NATS struct {
	opts   Options
	conn   *nats.Conn
	server *server.Server // nil if elsewhere
	out    *newest[Announcement]
	leads  *newest[membership.Leader]
	stop   chan struct{} // ends the publishing goroutines, which work waits for
	work   sync.WaitGroup

	closing sync.Once
	mu      struct {
		sync.Mutex
		closed  bool
		subs    map[any]func() // of each subscription, its cancel
		trouble string         // the last error logged while not connected
	}

	connected                             atomic.Bool
	published, dropped, received, refused atomic.Uint64
}

// Open starts the embedded server, or connects to servers elsewhere. Those need
// not be up yet: connecting goes on in the background.
func Open(s Spec, opts Options) (*NATS, error) {
	if !s.embedded && len(s.servers) == 0 {
		return nil, errors.New("open announcement bus: no NATS address")
	}
	b := &NATS{opts: opts, out: newNewest(&committed), leads: newNewest(&leaders), stop: make(chan struct{})}
	b.mu.subs = map[any]func(){}
	if s.embedded {
		srv, err := startServer(s, opts)
		if err != nil {
			return nil, fmt.Errorf("open announcement bus: %w", err)
		}
		b.server = srv
	}
	if err := b.connect(s); err != nil {
		if b.server != nil {
			stopServer(b.server)
		}
		return nil, fmt.Errorf("open announcement bus: %w", err)
	}
	b.work.Go(func() { b.out.drain(b.stop, func(a Announcement) { send(b, &committed, a) }) })
	b.work.Go(func() { b.leads.drain(b.stop, func(l membership.Leader) { send(b, &leaders, l) }) })
	return b, nil
}

// connect makes the client. An unreachable server is not an error.
func (b *NATS) connect(s Spec) error {
	options := []nats.Option{
		nats.Name("varve"),
		nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(reconnectWait),
		nats.ReconnectBufSize(-1), // old hints must not arrive as new ones
		nats.Timeout(connectTimeout), nats.FlusherTimeout(writeTimeout), nats.PingInterval(pingInterval),
		nats.ConnectHandler(func(*nats.Conn) { b.up() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.up() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.down(err) }),
		nats.IgnoreAuthErrorAbort(), // credentials may be corrected while the node runs
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.trouble(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.trouble(err) }),
		nats.NoCallbacksAfterClientClose(),
	}
	if b.server != nil {
		options = append(options, nats.InProcessServer(b.server), nats.IgnoreDiscoveredServers())
	}
	if b.opts.Credentials != "" {
		options = append(options, nats.UserCredentials(b.opts.Credentials)) // read at each connection
	}
	if b.opts.CA != "" {
		options = append(options, nats.RootCAs(b.opts.CA))
	}
	conn, err := nats.Connect(strings.Join(s.servers, ","), options...)
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", s, err)
	}
	b.conn = conn
	if !conn.IsConnected() {
		b.opts.Log.Warn("nats is not reachable; going on without announcements", "nats", s.String())
	}
	return nil
}

func (b *NATS) up() {
	b.connected.Store(true)
	b.mu.Lock()
	b.mu.trouble = ""
	b.mu.Unlock()
	b.opts.Log.Info("nats connected")
}

func (b *NATS) down(err error) {
	b.connected.Store(false)
	b.opts.Log.Warn("nats connection lost; going on without announcements", "err", err)
}

// trouble logs the error of the client, once until it changes.
func (b *NATS) trouble(err error) {
	b.mu.Lock()
	known := b.mu.trouble == err.Error()
	b.mu.trouble = err.Error()
	b.mu.Unlock()
	if !known {
		b.opts.Log.Warn("nats client", "err", err)
	}
}

// Publish sends an announcement to the other nodes. It never blocks and never fails:
// while NATS is away, it drops the announcement. Of several ones of a journal in quick
// succession it sends only the newest.
func (b *NATS) Publish(a Announcement) {
	if !b.out.offer(a) {
		b.dropped.Add(1)
	}
}

// PublishLeader is Publish for a leadership of this node, which it has settled.
func (b *NATS) PublishLeader(l membership.Leader) {
	if !b.leads.offer(l) {
		b.dropped.Add(1)
	}
}

// send runs on a publishing goroutine, as the client may block in a write or
// while it reconnects.
func send[T any](b *NATS, t *topic[T], v T) {
	err := b.conn.Publish(t.subject(b.opts.Cluster, t.journal(v)), t.encode(b.opts.Cluster, v))
	if err != nil {
		b.dropped.Add(1)
		return
	}
	b.published.Add(1)
}

// Stats returns the counters.
func (b *NATS) Stats() Stats {
	return Stats{
		Connected: b.connected.Load(),
		Published: b.published.Load(), Dropped: b.dropped.Load(),
		Received: b.received.Load(), Refused: b.refused.Load(),
	}
}

// Hears reports whether hints of other nodes arrive, as far as is known: from servers
// elsewhere, or over routes.
func (b *NATS) Hears() bool {
	if b.server == nil {
		return b.connected.Load()
	}
	return b.server.NumRoutes() > 0
}

// URL returns the address of the embedded server, "" if it does not listen or
// is elsewhere.
func (b *NATS) URL() string {
	if b.server == nil || b.server.Addr() == nil {
		return ""
	}
	return "nats://" + b.server.Addr().String()
}

// Close ends all subscriptions and waits for all goroutines.
func (b *NATS) Close() error {
	b.closing.Do(b.close)
	return nil
}

func (b *NATS) close() {
	b.mu.Lock()
	b.mu.closed = true
	subs := slices.Collect(maps.Values(b.mu.subs))
	b.mu.Unlock()
	for _, cancel := range subs {
		cancel()
	}
	close(b.stop)
	b.work.Wait()
	b.conn.Close()
	if b.server != nil {
		stopServer(b.server)
	}
}
