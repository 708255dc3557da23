package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// peersOptions are the surroundings of peers. All fields are required.
type peersOptions struct {
	Self    peer.Identity
	Cluster segment.ID
	Store   objstore.Store
	Loop    *drive.Loop
	Writes  bool // this node has the keys of all roles, and creates the first ones

	// Lost is called on the goroutine of the Driver when the connection for heartbeats to a
	// node has ended.
	Lost func(node segment.ID)
	Now  func() time.Time
	Log  *slog.Logger
}

// peers are the other nodes of the cluster: this one reaches them, and lets them in.
type peers struct {
	opt     peersOptions
	keys    map[segment.PeerRole]*peer.Keys
	dialers map[segment.PeerRole]*peer.Dialer
	door    *peer.Door
	metrics *peerMetrics

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	running sync.WaitGroup // requests; none begins once closed
	closed  bool
	lanes   map[laneOf]*lane
	reaches map[segment.ID]reach
}

var _ drive.Network = (*peers)(nil)

// newPeers prepares peers. Start and Close follow.
func newPeers(opt peersOptions) *peers {
	p := &peers{
		opt: opt, keys: map[segment.PeerRole]*peer.Keys{}, dialers: map[segment.PeerRole]*peer.Dialer{}, metrics: newPeerMetrics(),
		lanes: map[laneOf]*lane{}, reaches: map[segment.ID]reach{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.door = &peer.Door{Self: opt.Self, Cluster: opt.Cluster, Random: rand.Reader, Now: opt.Now}
	roles := []segment.PeerRole{segment.PeerFetch}
	if opt.Writes {
		roles = append(roles, segment.PeerIngest)
	}
	connect := new(net.Dialer)
	for _, role := range roles {
		keys := peer.NewKeys(peer.KeysOptions{Store: opt.Store, Cluster: opt.Cluster, Role: role, Random: rand.Reader, NewID: segment.NewID, Now: opt.Now})
		p.keys[role] = keys
		p.door.Keys = append(p.door.Keys, keys)
		p.dialers[role] = &peer.Dialer{
			Self: opt.Self, Key: keys.Newest, Random: rand.Reader,
			Dial: func(ctx context.Context, address string) (net.Conn, error) {
				return connect.DialContext(ctx, "tcp", address)
			},
		}
	}
	return p
}

// Start reads the keys. A node that writes creates the first ones; without them another one
// reads them when it needs them.
func (p *peers) Start(ctx context.Context) error {
	reading, ctx := errgroup.WithContext(ctx)
	for role, keys := range p.keys {
		ready := keys.Load
		if p.opt.Writes {
			ready = keys.Ensure
		}
		reading.Go(func() error {
			if err := ready(ctx); err != nil {
				return fmt.Errorf("keys of the role %s, by which nodes know each other: %w", role, err)
			}
			return nil
		})
	}
	return reading.Wait()
}

// readable returns why the keys that every node has cannot be read.
func (p *peers) readable(ctx context.Context) error {
	keys := p.keys[segment.PeerFetch]
	if err := keys.Load(ctx); err != nil {
		return err
	}
	_, err := keys.Newest()
	return err
}

// Door lets other nodes in.
func (p *peers) Door() *peer.Door { return p.door }

// Close ends all requests and connections, and waits. It is not called on the goroutine of
// the Driver.
func (p *peers) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
	p.mu.Lock()
	lanes := slices.Collect(maps.Values(p.lanes))
	p.mu.Unlock()
	for _, l := range lanes {
		l.closeAll()
	}
}

// lost notes that the connection for heartbeats to a node has ended.
func (p *peers) lost(node segment.ID) {
	if p.ctx.Err() == nil {
		_ = p.opt.Loop.Do(p.ctx, func() { p.opt.Lost(node) })
	}
}

// begin reports whether a request may begin. If so, p.running.Done must follow.
func (p *peers) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.running.Add(1)
	}
	return !p.closed
}

// start runs a request with a limit on its own goroutine, and has done run with its result on
// that of the Driver, on which start is called.
func start[T any](p *peers, limit time.Duration, ended T, request func(ctx context.Context) T, done func(T)) {
	if !p.begin() {
		done(ended)
		return
	}
	go func() {
		defer p.running.Done()
		ctx, cancel := context.WithTimeout(p.ctx, limit)
		defer cancel()
		v := request(ctx)
		_ = p.opt.Loop.Do(context.Background(), func() { done(v) })
	}()
}

// Dial implements drive.Network.
func (p *peers) Dial(node segment.ID, run metadata.Run, limit time.Duration, done func(membership.Outcome)) {
	start(p, limit, membership.TimedOut, func(ctx context.Context) membership.Outcome {
		c, outcome, err := p.dial(ctx, node, run)
		if err == nil {
			_ = c.Close()
		}
		return outcome
	}, done)
}

// Call implements drive.Network. Heartbeats and questions have a connection of their own, so
// that they never wait for a slow probe.
func (p *peers) Call(node segment.ID, run metadata.Run, r drive.Request, limit time.Duration, done func(drive.Response)) {
	l := p.lane(node, forOthers)
	if r.Kind == peer.KindHeartbeat || r.Kind == peer.KindQuestion {
		l = p.lane(node, forHeartbeats)
	}
	busy := drive.Response{Outcome: membership.TimedOut}
	if !l.enter() {
		done(busy)
		return
	}
	start(p, limit, busy, func(ctx context.Context) drive.Response {
		defer l.leave()
		began := time.Now()
		reply, outcome, err := ask(ctx, l, run, r.Kind, r.Body)
		if err == nil && r.Kind == peer.KindHeartbeat {
			p.metrics.heartbeats.Observe(time.Since(began).Seconds())
		}
		if err != nil {
			return drive.Response{Outcome: outcome}
		}
		return drive.Response{Outcome: outcome, Body: reply.Body, Err: reply.Err()}
	}, done)
}

// Ask sends a private request that may take long, and returns the body of the answer. With the
// outcome membership.Proved an error is the answer.
func (p *peers) Ask(ctx context.Context, node segment.ID, run metadata.Run, kind peer.Kind, body []byte) ([]byte, membership.Outcome, error) {
	var reply *peer.Reply
	outcome, err := p.attended(ctx, node, forHandOvers, func(ctx context.Context, l *lane) (o membership.Outcome, err error) {
		reply, o, err = ask(ctx, l, run, kind, body)
		return o, err
	})
	if err != nil {
		return nil, outcome, err
	}
	return reply.Body, outcome, reply.Err()
}

// Request sends a request once, and returns its answer. With the outcomes membership.Refused
// and membership.Replaced it was not sent. With membership.TimedOut its effect is unknown.
func (p *peers) Request(ctx context.Context, node segment.ID, run metadata.Run, req kmsg.Request) (resp kmsg.Response, outcome membership.Outcome, err error) {
	outcome, err = p.attended(ctx, node, forClients, func(ctx context.Context, l *lane) (o membership.Outcome, err error) {
		resp, o, err = l.request(ctx, run, req, once)
		return o, err
	})
	return resp, outcome, err
}

var (
	errPeersClosed = errors.New("this node is shutting down")
	errPeerBusy    = errors.New("too many requests wait for the node")
)

// attended makes a request that ends with ctx, or with Close.
func (p *peers) attended(ctx context.Context, node segment.ID, use use, request func(ctx context.Context, l *lane) (membership.Outcome, error)) (membership.Outcome, error) {
	if !p.begin() {
		return membership.TimedOut, errPeersClosed
	}
	defer p.running.Done()
	l := p.lane(node, use)
	if !l.enter() {
		return membership.TimedOut, errPeerBusy
	}
	defer l.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	return request(ctx, l)
}
