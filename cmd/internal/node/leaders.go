package node

import (
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
	id, ok := n.broker(known.Node)
	if !ok || known.Node == n.dir.Node() && !n.open(p.Journal, partlog.Key{Topic: t.ID, Index: partition}) {
		return at
	}
	at.Leader, at.Replicas = id, []int32{id}
	return at
}

// open reports whether a journal of this node takes or has records of a partition.
func (n *node) open(journal uint32, k partlog.Key) bool {
	j := n.journals.get(journal)
	if j == nil {
		return false
	}
	view, ok := j.state.Lookup(k)
	return ok && !view.Sealed
}

// broker returns the broker id of a node; false if it has none.
func (n *node) broker(node segment.ID) (int32, bool) {
	if node == n.dir.Node() {
		return n.id, true
	}
	if known := n.meta.Cluster().Node(node); known != nil {
		return known.ID, true
	}
	return 0, false
}
