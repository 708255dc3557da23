package node

import (
	"net"
	"strconv"
	"time"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// memberFacts are those that only the running member of a cluster knows. Its methods are
// called from any goroutine, and never block.
type memberFacts interface {
	// Answered is when the controller last answered a heartbeat of this node; zero: never.
	Answered() time.Time
	// Moves are the journals that this node is about to take or to hand over.
	Moves() []status.Move
}

// kafkaMembers describes the cluster to the Kafka front; nil on a node that takes part in none.
func (n *node) kafkaMembers() *kafka.Members {
	if !n.inCluster() {
		return nil
	}
	return kafkaMembersOf(n.meta.Cluster(), n.leaders)
}

func kafkaMembersOf(c *metadata.Cluster, known leaders) *kafka.Members {
	m := &kafka.Members{Journals: uint32(len(c.Assignments))}
	leads := map[segment.ID][]uint32{}
	for id := range m.Journals + 1 {
		if leader := known.Leader(id).Node; !leader.IsZero() {
			leads[leader] = append(leads[leader], id)
		}
	}
	for _, n := range c.Nodes {
		m.Nodes = append(m.Nodes, kafka.Node{Node: n, Assigned: c.AssignedTo(n.Node), Leads: leads[n.Node]})
	}
	return m
}

// members describes the cluster for /status; nil on a node that takes part in none.
func (n *node) members() *status.Members {
	if !n.inCluster() {
		return nil
	}
	m := membersOf(n.meta.Cluster(), n.leaders, n.events.FencedSince)
	if n.facts != nil {
		m.Answered, m.Moves = timeOf(n.facts.Answered()), append(m.Moves, n.facts.Moves()...)
	}
	return m
}

// membersOf describes a cluster. since returns from when on a node is fenced; zero: not known.
func membersOf(c *metadata.Cluster, known leaders, since func(node segment.ID) time.Time) *status.Members {
	m := &status.Members{Seq: c.Seq, Nodes: []status.Member{}, Journals: []status.Assigned{}, Moves: []status.Move{}}
	m.Controller = brokerOf(c, known.Leader(0).Node)
	for i := range c.Nodes {
		m.Nodes = append(m.Nodes, memberOf(&c.Nodes[i], since(c.Nodes[i].Node)))
	}
	for _, a := range c.Assignments {
		leader := known.Leader(a.Journal)
		m.Journals = append(m.Journals, status.Assigned{
			Journal: a.Journal, Node: brokerOf(c, a.Node), Home: brokerOf(c, a.Home), Number: a.Number, Why: whyOf(a),
			Moves: a.Moves, Deaths: a.Deaths, Leader: brokerOf(c, leader.Node), Epoch: leader.Epoch,
		})
	}
	return m
}

func memberOf(n *metadata.Node, since time.Time) status.Member {
	s := status.Member{
		ID: n.ID, UUID: n.Node.String(), State: n.State.String(), Fenced: n.Fence.String(), Roles: n.Run.Roles.Names(),
		Rack: n.Run.Rack, MinLevel: n.Run.MinLevel, MaxLevel: n.Run.MaxLevel,
	}
	if n.Fence != metadata.NotFenced {
		s.FencedSince = timeOf(since)
	}
	if len(n.Run.Listeners) > 0 {
		l := n.Run.Listeners[0]
		s.Kafka = net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
	}
	return s
}

// whyOf returns the reason for an assignment, empty if there was none yet.
func whyOf(a metadata.Assignment) string {
	if a.Number == 0 {
		return ""
	}
	return a.Why.String()
}

// brokerOf returns the broker id of a data folder; nil if it is not registered.
func brokerOf(c *metadata.Cluster, node segment.ID) *int32 {
	if n := c.Node(node); n != nil {
		return &n.ID
	}
	return nil
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
