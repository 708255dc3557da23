package node

import (
	"sync/atomic"

	"github.com/varvelog/varve/fetch/steer"
	"github.com/varvelog/varve/metadata"
)

// steering is the cluster for the choice of the node that a consumer reads from.
type steering struct {
	leaving atomic.Bool // this node is about to end
	last    atomic.Pointer[readersOf]
}

// readersOf are the fetch nodes of a state of journal 0.
type readersOf struct {
	cluster *metadata.Cluster
	nodes   []steer.Node
}

// steer is the cluster as it is now; false: this node works alone.
func (n *node) steer() (steer.Nodes, bool) {
	if !n.inCluster() {
		return steer.Nodes{}, false
	}
	c, known := n.meta.Cluster(), n.steering.last.Load()
	if known == nil || known.cluster != c {
		known = &readersOf{cluster: c, nodes: readers(c)}
		n.steering.last.Store(known)
	}
	return steer.Nodes{
		Self:  steer.Node{ID: n.id.Load(), Rack: n.cfg.Rack},
		Reads: !n.writes(), Leaving: n.steering.leaving.Load(), Readers: known.nodes,
	}, true
}

// readers are the fetch nodes that are counted on.
func readers(c *metadata.Cluster) (all []steer.Node) {
	for _, x := range c.Nodes {
		if x.State == metadata.StateServing && x.Lives() && !x.Ingests() && x.Run.Roles&metadata.RoleFetch != 0 {
			all = append(all, steer.Node{ID: x.ID, Rack: x.Run.Rack})
		}
	}
	return all
}
