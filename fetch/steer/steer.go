// Package steer decides from which node a consumer reads a partition (KIP-392).
//
// It owns the table of clients that may be sent to a fetch node, and the choice of the node. It
// promises that only a client goes there whose return from a dead node was measured. Nodes with
// the same state of the cluster choose the same node for a piece of a partition, so that its
// objects are read once in a rack. It is pure, never reads, and knows no wire format.
package steer

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/varvelog/varve/tiering/partlog"
)

// Node is a node that serves reads.
type Node struct {
	ID   int32
	Rack string // empty: none
}

// Nodes is the cluster, as the node knows it that answers a client.
type Nodes struct {
	Self    Node
	Reads   bool   // it is a fetch node
	Leaving bool   // it is about to end
	Readers []Node // the fetch nodes that are counted on
}

// Read is a read that a client asks for.
type Read struct {
	Key    partlog.Key
	Offset int64
	Tail   bool   // the records are in the leader's memory, or there are none yet
	Rack   string // of the client; empty: it names none
}

// pieceBits make the pieces by which the history of a partition is shared among nodes. They
// are large: a consumer changes its node rarely, and a client refuses quick changes.
const pieceBits = 24

// FromLeader returns the fetch node that a client of the partition's leader is to read from; 0:
// it stays. Its software must be one that Returns.
//
// History is read from a fetch node always: of the client's rack if there is one. The tail is
// in the memory of the leader. It is read from there, unless the client names a rack in which
// there is a fetch node and not the leader.
func (n *Nodes) FromLeader(r Read) int32 {
	near := n.inRack(r.Rack)
	switch {
	case r.Tail && (r.Rack == n.Self.Rack || len(near) == 0):
		return 0
	case len(near) == 0:
		near = n.Readers
	}
	return choose(near, r)
}

// inRack returns the fetch nodes of a rack. A client without a rack has none.
func (n *Nodes) inRack(rack string) (near []Node) {
	for _, x := range n.Readers {
		if rack != "" && x.Rack == rack {
			near = append(near, x)
		}
	}
	return near
}

// choose is rendezvous hashing: each node has a weight for each piece, and the heaviest one
// has it. When a node comes or goes, only its own pieces move.
func choose(nodes []Node, r Read) (id int32) {
	heaviest := uint64(0)
	for _, x := range nodes {
		if w := weight(x, r); id == 0 || w > heaviest || w == heaviest && x.ID < id {
			id, heaviest = x.ID, w
		}
	}
	return id
}

func weight(x Node, r Read) uint64 {
	h := fnv.New64a()
	var b [16]byte
	binary.BigEndian.PutUint32(b[0:], uint32(x.ID))
	binary.BigEndian.PutUint32(b[4:], uint32(r.Key.Index))
	binary.BigEndian.PutUint64(b[8:], uint64(r.Offset>>pieceBits))
	_, _ = h.Write(b[:]) // it never fails
	_, _ = h.Write(r.Key.Topic[:])
	// The last bytes of FNV do not reach the high bits: mix them.
	w := h.Sum64()
	w ^= w >> 33
	w *= 0xff51afd7ed558ccd
	w ^= w >> 33
	w *= 0xc4ceb9fe1a85ec53
	return w ^ w>>33
}
