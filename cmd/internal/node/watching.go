package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// watchPause is the time between two attempts to reach a node again.
const watchPause = 100 * time.Millisecond

// watching keeps a connection to each node that leads journals, whose end shows at once that
// the node may have died. Journal 0 says so some tenths of a second later. Clients that lost the
// node ask in between, and some ask again after seconds only.
type watching struct {
	ctx  context.Context // ends all
	work *sync.WaitGroup
	dial func(ctx context.Context, node segment.ID) (*peer.Conn, error)

	mu    sync.Mutex
	nodes map[segment.ID]*watched // guarded by mu
}

// watched is a node with such a connection.
type watched struct {
	stop context.CancelFunc
	lost atomic.Bool // the connection has ended, and there is no other one yet
}

// follow watches the nodes that lead now, and no others.
func (w *watching) follow(leaders map[segment.ID]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, x := range w.nodes {
		if !leaders[id] {
			x.stop()
			delete(w.nodes, id)
		}
	}
	for id := range leaders {
		if w.nodes[id] == nil && w.ctx.Err() == nil {
			if w.nodes == nil {
				w.nodes = map[segment.ID]*watched{}
			}
			ctx, stop := context.WithCancel(w.ctx)
			x := &watched{stop: stop}
			w.nodes[id] = x
			w.work.Go(func() { w.keep(ctx, id, x) })
		}
	}
}

// lost reports whether a node that leads journals may have died.
func (w *watching) lost(id segment.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.nodes[id]
	return x != nil && x.lost.Load()
}

// keep keeps a connection to a node until ctx ends.
func (w *watching) keep(ctx context.Context, id segment.ID, x *watched) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, membership.HandshakeLimit)
		c, err := w.dial(limited, id)
		cancel()
		if err != nil {
			_ = pause(ctx, watchPause) // ctx is looked at next
			continue
		}
		x.lost.Store(false)
		ended := make(chan struct{})
		c.Watch(func() { close(ended) })
		select {
		case <-ended:
			x.lost.Store(true)
		case <-ctx.Done():
		}
		_ = c.Close()
	}
}
