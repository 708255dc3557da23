package node

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// leaders is this node's knowledge of the leaders of journals. It answers from any goroutine,
// does not block, and never answers a lower epoch of a journal than before.
type leaders interface {
	Leader(journal uint32) membership.Known
}

// ledHere is the leaders of a node that leads journals below LevelCluster: itself, or none.
type ledHere struct{ *node }

// Leader implements leaders.
func (n ledHere) Leader(journal uint32) membership.Known {
	if journal == 0 {
		k := membership.Known{}
		k.Epoch, _ = n.rivals.Epoch(0)
		if n.controller != nil && n.controller.Leads() {
			k.Node = n.dir.Node()
		}
		return k
	}
	j := n.journals.get(journal)
	if j == nil {
		return membership.Known{}
	}
	k := membership.Known{Epoch: j.state.Epoch()}
	if j.leader != nil {
		k.Node = n.dir.Node()
	}
	return k
}

// archive is the leaders of a node that only reads, and that no other node knows: it serves
// all that it follows, and clients need not be sent away.
type archive struct{ *node }

// Leader implements leaders.
func (n archive) Leader(journal uint32) membership.Known {
	k := membership.Known{Node: n.dir.Node()}
	if journal == 0 {
		k.Epoch, _ = n.rivals.Epoch(0)
		return k
	}
	j := n.journals.get(journal)
	if j == nil {
		return membership.Known{}
	}
	k.Epoch = j.state.Epoch()
	return k
}

// placement returns the broker that leads a partition: the node that leads its journal, and has
// opened the partition if it is this one. The leader epoch is the
// journal's epoch plus the partition's base, on every node.
func (n *node) placement(t *metadata.Topic, partition int32) kafka.Placement {
	p := t.Partitions[partition]
	known := n.leaders.Leader(p.Journal)
	at := kafka.Placement{Leader: -1, Epoch: -1}
	if known.Epoch > 0 {
		at.Epoch = int32(known.Epoch) + p.EpochBase
	}
	id, ok := n.brokerID(known.Node)
	if !ok || known.Node == n.dir.Node() && !n.open(p.Journal, partlog.Key{Topic: t.ID, Index: partition}) {
		return at
	}
	at.Leader, at.Replicas = id, []int32{id}
	return at
}

// brokers returns the nodes of the cluster as clients reach them, this one in any case. Below
// LevelCluster there is no other one.
func (n *node) brokers() []kafka.Broker {
	self := kafka.Broker{ID: n.id.Load(), Rack: n.cfg.Rack, Addresses: n.addresses()}
	if !n.inCluster() {
		return []kafka.Broker{self}
	}
	var all []kafka.Broker
	for _, other := range n.meta.Cluster().Nodes {
		if len(other.Run.Listeners) > 0 && other.Node != n.dir.Node() {
			all = append(all, asBroker(&other))
		}
	}
	return append(all, self)
}

func asBroker(other *metadata.Node) kafka.Broker {
	b := kafka.Broker{ID: other.ID, Rack: other.Run.Rack, Fenced: !other.Lives(), Addresses: map[string]kafka.Address{}}
	for _, l := range other.Run.Listeners {
		b.Addresses[l.Name] = kafka.Address{Host: l.Host, Port: int32(l.Port)}
	}
	return b
}

// shownController returns the broker that clients send requests for the controller to. A node
// that writes is one: it forwards them. Others name the controller, or another node that
// writes.
func (n *node) shownController() int32 {
	if n.writes() || !n.inCluster() {
		return n.id.Load()
	}
	c := n.meta.Cluster()
	if known := c.Node(n.leaders.Leader(0).Node); known != nil && known.Lives() {
		return known.ID
	}
	for _, other := range c.Nodes {
		if other.Lives() && other.Ingests() {
			return other.ID
		}
	}
	return -1
}

// deposed proves the heads of all journals that are led here, of which nothing was heard for
// long. A node that is alone sends its clients away if it has lost one. In a cluster it
// answers with the leaders that it knows then.
func (n *node) deposed(ctx context.Context) bool {
	return n.rivals.Deposed(ctx) && !n.inCluster()
}

// inCluster reports whether this node works with others, which may lead journals.
func (n *node) inCluster() bool { return !n.alone && n.meta.Level() >= metadata.LevelCluster }

// open reports whether a journal of this node takes or has records of a partition.
func (n *node) open(journal uint32, k partlog.Key) bool {
	j := n.journals.get(journal)
	if j == nil {
		return false
	}
	view, ok := j.state.Lookup(k)
	return ok && !view.Sealed
}

// brokerID returns the broker id of a node; false if it has none.
func (n *node) brokerID(node segment.ID) (int32, bool) {
	if node == n.dir.Node() {
		return n.id.Load(), true
	}
	if known := n.meta.Cluster().Node(node); known != nil {
		return known.ID, true
	}
	return 0, false
}
