package membership

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// draft is a plan, and the nodes and assignments as they will be with it.
type draft struct {
	nodes    []metadata.Node
	assigned []metadata.Assignment
	changes  []metadata.Change
}

func newDraft(c *metadata.Cluster) *draft {
	return &draft{nodes: slices.Clone(c.Nodes), assigned: slices.Clone(c.Assignments)}
}

func (d *draft) node(id segment.ID) *metadata.Node {
	i := slices.IndexFunc(d.nodes, func(n metadata.Node) bool { return n.Node == id })
	if i < 0 {
		return nil
	}
	return &d.nodes[i]
}

func (d *draft) fence(n *metadata.Node, f metadata.Fence) {
	n.Fence = f
	d.changes = append(d.changes, metadata.NodeFenced{Node: n.Node, Fence: f})
}

func (d *draft) set(n *metadata.Node, s metadata.NodeState) {
	n.State = s
	d.changes = append(d.changes, metadata.NodeSet{Node: n.Node, State: s})
}

// assign plans an assignment, and leaves its number to the draft.
func (d *draft) assign(a metadata.Assignment) {
	a.Number++
	d.assigned[a.Journal-1] = a
	d.changes = append(d.changes, metadata.JournalAssigned{Assignment: a})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
