package node

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of HTTP connections, for scrapers of metrics and probes. A profile may
// take httpWrite.
const (
	maxHTTPConns  = 128
	httpRead      = 10 * time.Second // to send a request
	httpWrite     = 90 * time.Second // to be answered
	httpIdle      = time.Minute      // between two requests
	maxHTTPHeader = 64 << 10         // bytes
)

// httpConns limits the connections of an HTTP server. At the limit, a new
// connection takes the place of the one that has waited longest without a
// request under way. So connections that only wait cannot keep out others.
type httpConns struct {
	net.Listener
	max int

	mu   sync.Mutex
	open map[net.Conn]*httpConn
}

type httpConn struct {
	waits bool // for its client to send a request
	since time.Time
}

func newHTTPConns(ln net.Listener, most int) *httpConns {
	return &httpConns{Listener: ln, max: most, open: map[net.Conn]*httpConn{}}
}

// Accept implements net.Listener.
func (h *httpConns) Accept() (net.Conn, error) {
	for {
		nc, err := h.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if h.admit(nc) {
			return nc, nil
		}
		nc.Close()
	}
}

// admit reports whether there is room for a connection, and makes room if it
// can.
func (h *httpConns) admit(nc net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) >= h.max {
		var victim net.Conn
		for other, c := range h.open {
			if c.waits && (victim == nil || c.since.Before(h.open[victim].since)) {
				victim = other
			}
		}
		if victim == nil {
			return false
		}
		victim.Close()
		delete(h.open, victim)
	}
	h.open[nc] = &httpConn{waits: true, since: time.Now()}
	return true
}

// changed is the server's ConnState.
func (h *httpConns) changed(nc net.Conn, state http.ConnState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.open[nc]
	switch {
	case c == nil: // gone already
	case state == http.StateActive:
		c.waits = false
	case state == http.StateIdle:
		c.waits, c.since = true, time.Now()
	case state == http.StateClosed, state == http.StateHijacked:
		delete(h.open, nc)
	}
}
