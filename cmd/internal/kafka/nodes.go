package kafka

import (
	"slices"

	"github.com/varvelog/varve/metadata"
)

// Members is a cluster of several nodes, as this one knows it.
type Members struct {
	Nodes    []Node // by broker id, removed ones too
	Journals uint32 // data journals
}

// Node is a node with its journals.
type Node struct {
	metadata.Node
	Assigned []uint32 // data journals that it is to lead
	Leads    []uint32 // journals, 0 too, that it is known to lead
}

// node finds a node that is not removed; nil if there is none.
func (m *Members) node(id int32) *Node {
	i := slices.IndexFunc(m.Nodes, func(n Node) bool { return n.ID == id && n.State != metadata.StateRemoved })
	if i < 0 {
		return nil
	}
	return &m.Nodes[i]
}

// membersOf returns the members, nil if the backend knows of none.
func (b Backend) membersOf() *Members {
	if b.Members == nil {
		return nil
	}
	return b.Members()
}
