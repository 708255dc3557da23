package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// use is the purpose of a connection.
type use uint8

// The uses. Requests of one never wait for those of another.
const (
	forHeartbeats use = iota // and questions
	forOthers                // of the Driver
	forHandOvers
	forClients // whose requests are forwarded
)

// uses have names for metrics, a number of connections to each node, and how many requests may
// be there at once. More of them end at once, so that a node that does not answer holds little.
var uses = map[use]struct {
	name        string
	connections int
	requests    int
}{
	forHeartbeats: {"heartbeats", 1, 5},
	forOthers:     {"others", 1, 5},
	forHandOvers:  {"hand overs", 4, 1 << 16}, // one for each journal of a node
	forClients:    {"clients", 4, 64},
}

// refusedFor is how long a refused connection stands for the next one. Heartbeats come every
// half second, so that they find a node that has started again.
const refusedFor = 200 * time.Millisecond

// connectLimit bounds how long a request waits for a new connection: one that may take long must
// not wait as long for a node that has vanished.
const connectLimit = 3 * time.Second

type laneOf struct {
	node segment.ID
	use  use
}

// lane are the connections to a node for one use.
type lane struct {
	peers *peers
	laneOf
	turns chan struct{} // full while all connections are in use

	mu       sync.Mutex
	requests int // that wait or are under way
	idle     []*link
	refusal  refusal // the last one
}

// refusal is an address that has refused a connection.
type refusal struct {
	address string
	at      time.Time
	err     error
}

// link is a connection, and the address that it was made to.
type link struct {
	*peer.Conn
	address string
	used    bool // it has carried a request
	over    sync.Once
}

func (p *peers) lane(node segment.ID, use use) *lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := laneOf{node, use}
	l := p.lanes[of]
	if l == nil {
		l = &lane{peers: p, laneOf: of, turns: make(chan struct{}, uses[use].connections)}
		p.lanes[of] = l
	}
	return l
}

// enter reports whether one more request may be there. If so, leave must follow.
func (l *lane) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests >= uses[l.use].requests {
		return false
	}
	l.requests++
	return true
}

func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests--
}

// ask sends a private request. It is sent again if its connection is an old one that breaks:
// the node may have started again, and a dial shows that.
func ask(ctx context.Context, l *lane, run metadata.Run, kind peer.Kind, body []byte) (*peer.Reply, membership.Outcome, error) {
	resp, outcome, err := l.request(ctx, run, &peer.Request{Kind: kind, Body: body}, twice)
	if err != nil {
		return nil, outcome, err
	}
	return resp.(*peer.Reply), outcome, nil
}

// How often a request may be sent.
const (
	once  = false
	twice = true
)

// request sends a request over a connection to the newest address that is known. With the
// outcome membership.TimedOut it may have had an effect.
func (l *lane) request(ctx context.Context, run metadata.Run, req kmsg.Request, twice bool) (kmsg.Response, membership.Outcome, error) {
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
	case <-ctx.Done():
		return nil, membership.TimedOut, ctx.Err()
	}
	for {
		c, outcome, err := l.connection(ctx, run)
		if err != nil {
			return nil, outcome, err
		}
		resp, err := c.Request(ctx, req)
		if err == nil {
			l.keep(c)
			return resp, membership.Proved, nil
		}
		l.broken(c)
		if errors.Is(err, peer.ErrEnded) {
			continue // it was not sent
		}
		if again := twice && c.used && ctx.Err() == nil; !again {
			return nil, membership.TimedOut, err
		}
		twice = false
	}
}

// connection returns a connection on which nothing is under way. keep gives it back.
func (l *lane) connection(ctx context.Context, run metadata.Run) (*link, membership.Outcome, error) {
	address, err := addressOf(run)
	if err != nil {
		return nil, membership.TimedOut, err
	}
	for {
		c, ok := l.takeIdle()
		if !ok {
			break
		}
		if c.address == address {
			return c, membership.Proved, nil
		}
		l.close(c) // the node has started again somewhere else
	}
	if err := l.lately(address); err != nil {
		return nil, membership.Refused, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	c, outcome, err := l.peers.dial(ctx, l.node, run)
	l.peers.reached(l.node, address, outcome, err)
	switch outcome {
	case membership.Proved:
		l.gauge().Inc()
		return &link{Conn: c, address: address}, outcome, nil
	case membership.Refused:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refusal = refusal{address, l.peers.opt.Now(), err}
	}
	return nil, outcome, err
}

// lately returns the refusal of an address a moment ago.
func (l *lane) lately(address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.refusal; r.address == address && l.peers.opt.Now().Sub(r.at) < refusedFor {
		return r.err
	}
	return nil
}

func (l *lane) takeIdle() (c *link, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idle) == 0 {
		return nil, false
	}
	c = l.idle[len(l.idle)-1]
	l.idle = l.idle[:len(l.idle)-1]
	return c, true
}

// keep keeps a connection for the next request, and notices if the other end closes it.
func (l *lane) keep(c *link) {
	c.used = true
	c.Watch(func() {
		l.mu.Lock()
		l.idle = slices.DeleteFunc(l.idle, func(other *link) bool { return other == c })
		l.mu.Unlock()
		l.broken(c)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, c)
}

// broken notes that a connection has ended by itself.
func (l *lane) broken(c *link) {
	c.over.Do(func() {
		l.gauge().Dec()
		if l.use == forHeartbeats {
			l.peers.lost(l.node)
		}
	})
}

// close closes a connection that is not wanted any more.
func (l *lane) close(c *link) {
	c.over.Do(l.gauge().Dec)
	_ = c.Close()
}

func (l *lane) closeAll() {
	for c, ok := l.takeIdle(); ok; c, ok = l.takeIdle() {
		l.close(c)
	}
}

func (l *lane) gauge() prometheus.Gauge {
	return l.peers.metrics.connections.WithLabelValues(uses[l.use].name)
}
