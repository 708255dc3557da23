package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/events"
)

// members shows the cluster as this node knows it. All is 0 below the level of clusters.
func (m *metrics) members(n *node) {
	for _, state := range []metadata.NodeState{metadata.StateServing, metadata.StateLeaving, metadata.StateDrained} {
		m.gauge("varve_nodes", "Nodes of the cluster by their state. Removed ones are left out.", prometheus.Labels{"state": state.String()},
			n.countNodes(func(n *metadata.Node) bool { return n.State == state }))
	}
	m.gauge("varve_nodes_fenced", "Nodes that serve or leave, and that the cluster does not count on: they do not answer.", nil,
		n.countNodes(func(n *metadata.Node) bool {
			return n.Fence != metadata.NotFenced && (n.State == metadata.StateServing || n.State == metadata.StateLeaving)
		}))
	m.gauge("varve_controller", "1 while the node is the controller.", nil, func() float64 {
		return float64(n.countLeaders(0, 0, func(self, _ bool) bool { return self }))
	})
	m.gauge("varve_journals_led", "Data journals that the node leads.", nil, func() float64 {
		return float64(n.countLeaders(1, n.dataJournals(), func(self, _ bool) bool { return self }))
	})
	m.gauge("varve_journals_without_leader", "Data journals of which the node knows no leader.", nil, func() float64 {
		return float64(n.countLeaders(1, n.dataJournals(), func(_, known bool) bool { return !known }))
	})
	m.gauge("varve_heartbeat_age_seconds", "Time since the controller last answered a heartbeat of the node; 0: never, or no cluster of several nodes.", nil, func() float64 {
		if n.facts == nil || n.facts.Answered().IsZero() {
			return 0
		}
		return time.Since(n.facts.Answered()).Seconds()
	})
}

// countNodes counts the nodes of a cluster.
func (n *node) countNodes(is func(*metadata.Node) bool) func() float64 {
	return func() (count float64) {
		c := n.meta.Cluster()
		for i := range c.Nodes {
			if c.Level >= metadata.LevelCluster && is(&c.Nodes[i]) {
				count++
			}
		}
		return count
	}
}

func (n *node) dataJournals() uint32 { return uint32(len(n.meta.Cluster().Assignments)) }

// countLeaders counts the journals of a range by their leaders: this node, and any known one.
func (n *node) countLeaders(first, last uint32, is func(self, known bool) bool) (count int) {
	if !n.inCluster() {
		return 0
	}
	for id := first; id <= last; id++ {
		leader := n.leaders.Leader(id).Node
		if is(leader == n.dir.Node(), !leader.IsZero()) {
			count++
		}
	}
	return count
}

// beginTakeOvers gives the series a value before the first take-over.
func (m *metrics) beginTakeOvers() {
	for why := metadata.WhyFirst; why <= metadata.WhyTriedAgain; why++ {
		m.takeOvers.WithLabelValues(why.String())
	}
	m.takeOvers.WithLabelValues(events.WhyController)
}

// takeOver counts a journal that this node has taken.
func (m *metrics) takeOver(why string, took time.Duration) {
	m.takeOvers.WithLabelValues(why).Inc()
	if took > 0 {
		m.takeOverTime.WithLabelValues(why).Observe(took.Seconds())
	}
}
