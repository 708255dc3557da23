package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

// peerMetrics are those of the connections to other nodes.
type peerMetrics struct {
	connections *prometheus.GaugeVec
	dials       *prometheus.CounterVec
	heartbeats  prometheus.Histogram
}

// outcomes are the words for the outcomes of handshakes.
var outcomes = map[membership.Outcome]string{
	membership.Proved: "ok", membership.Refused: "refused", membership.Replaced: "another process", membership.TimedOut: "no answer",
}

func newPeerMetrics() *peerMetrics {
	m := &peerMetrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "varve_peer_connections", Help: "Open connections of this node to others, by their purpose."}, []string{"purpose"}),
		dials:       counters("varve_peer_handshakes_total", "Handshakes with other nodes, by outcome.", "outcome"),
		heartbeats: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_heartbeat_seconds", Help: "Time until the controller has answered a heartbeat.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	for _, use := range uses {
		m.connections.WithLabelValues(use.name)
	}
	for _, outcome := range outcomes {
		m.dials.WithLabelValues(outcome)
	}
	return m
}

// peers shows the connections to other nodes.
func (m *metrics) peers(p *peers) {
	m.register.MustRegister(p.metrics.connections, p.metrics.dials, p.metrics.heartbeats)
	m.gauge("varve_peers_unreached", "Nodes that this one has called in the last minute, and that did not answer the last call.", nil, func() float64 {
		return float64(p.unreached())
	})
}

// reach is how another node answered when it was last called.
type reach struct {
	outcome membership.Outcome
	since   time.Time // of this outcome
	called  time.Time // last
}

// calledFor is how long a call counts: a node that has left the cluster is not called.
const calledFor = time.Minute

// reached notes how another node answered a handshake, and logs a change.
func (p *peers) reached(node segment.ID, address string, outcome membership.Outcome, err error) {
	p.metrics.dials.WithLabelValues(outcomes[outcome]).Inc()
	if p.ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	before, called := p.reaches[node]
	r := reach{outcome, p.opt.Now(), p.opt.Now()}
	if before.outcome == outcome {
		r.since = before.since
	}
	p.reaches[node] = r
	p.mu.Unlock()
	switch was, is := before.outcome == membership.Proved, outcome == membership.Proved; {
	case is && !was:
		p.opt.Log.Info("another node is reached", "node", node, "address", address)
	case !is && (was || !called):
		p.opt.Log.Warn("another node is not reached", "node", node, "address", address, "why", outcomes[outcome], "error", err)
	}
}

// Reached returns how another node answered when it was last called, and since when it answers
// like that; zero: it was not called.
func (p *peers) Reached(node segment.ID) (membership.Outcome, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.reaches[node]
	return r.outcome, r.since
}

func (p *peers) unreached() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.reaches {
		if r.outcome != membership.Proved && p.opt.Now().Sub(r.called) < calledFor {
			n++
		}
	}
	return n
}
