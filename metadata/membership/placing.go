package membership

import (
	"slices"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// pick returns the node that is to get a journal, nil if none can. That is its leader if it
// has one, else its home if that is well, else the node with the least load.
func (j *Judge) pick(d *draft, a metadata.Assignment, except ...segment.ID) *metadata.Node {
	l := j.journals[a.Journal]
	var best *metadata.Node
	var least uint64
	for i := range d.Nodes {
		n := &d.Nodes[i]
		if slices.Contains(except, n.Node) || !j.able(n) {
			continue
		}
		if n.Node == l.leader || n.Node == a.Home && j.returns(a, l) {
			return n
		}
		if load := j.loadOf(d, n.Node); best == nil || load < least {
			best, least = n, load
		}
	}
	return best
}

// able reports whether a node may get journals, and answers now.
func (j *Judge) able(n *metadata.Node) bool {
	return n.Serves() && n.Lives() && j.detector.answers(j.now, n.Node)
}

// loadOf is the load of the journals that are assigned to a node.
func (j *Judge) loadOf(d *draft, node segment.ID) (load uint64) {
	for _, a := range d.Assignments {
		if a.Number > 0 && a.Node == node {
			load += journalWeight + j.journals[a.Journal].load
		}
	}
	return load
}

// returns reports whether the home of a journal was well for long enough.
func (j *Judge) returns(a metadata.Assignment, l *journal) bool {
	wait := doubled(homeAfter, int(a.Moves)-1, homeMost)
	return j.detector.wellFor(j.now, a.Home, wait) && l.since(j.now, j.begun) >= wait
}

// moving reports whether a journal is handed over now: one after the other is.
func (j *Judge) moving(d *draft) bool {
	for _, a := range d.Assignments {
		l := j.journals[a.Journal]
		if a.Number != l.number || a.Number > 0 && !a.Node.IsZero() && (l.leader != a.Node || l.taking > 0) {
			return true
		}
	}
	return false
}

// goHome moves one journal back to its home.
func (j *Judge) goHome(d *draft) {
	for _, a := range d.Assignments {
		l := j.journals[a.Journal]
		home := d.Node(a.Home)
		if a.Number == 0 || a.Node.IsZero() || a.Node == a.Home || l.blocked || home == nil || !home.Serves() || !home.Lives() || !j.returns(a, l) {
			continue
		}
		a.Node, a.Why = a.Home, metadata.WhyHome
		d.assign(a)
		return
	}
}

// share gives one journal another home, if one node is home to two more than another.
func (j *Judge) share(d *draft) {
	var most, least *metadata.Node
	homes := map[segment.ID]int{}
	for _, a := range d.Assignments {
		if a.Number > 0 {
			homes[a.Home]++
		}
	}
	for i := range d.Nodes {
		n := &d.Nodes[i]
		if !n.Serves() || !n.Lives() || !j.detector.wellFor(j.now, n.Node, homeAfter) {
			continue
		}
		if most == nil || homes[n.Node] > homes[most.Node] {
			most = n
		}
		if least == nil || homes[n.Node] < homes[least.Node] {
			least = n
		}
	}
	if most == nil || homes[most.Node]-homes[least.Node] < 2 {
		return
	}
	for _, a := range slices.Backward(d.Assignments) {
		l := j.journals[a.Journal]
		if a.Number > 0 && a.Home == most.Node && a.Node == a.Home && !l.blocked && l.since(j.now, j.begun) >= homeAfter {
			a.Node, a.Home, a.Why, a.Moves = least.Node, least.Node, metadata.WhyShare, 0
			d.assign(a)
			return
		}
	}
}
