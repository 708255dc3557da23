package membership

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varvelog/varve/metadata"
)

// draft is a plan, and the nodes and assignments as they will be with it.
type draft struct {
	metadata.Cluster
	changes []metadata.Change
}

func newDraft(c *metadata.Cluster) *draft {
	d := &draft{Cluster: *c}
	d.Nodes, d.Assignments = slices.Clone(c.Nodes), slices.Clone(c.Assignments)
	return d
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
	d.Assignments[a.Journal-1] = a
	d.changes = append(d.changes, metadata.JournalAssigned{Assignment: a})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
