package metadata

import (
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// known finds a node that an entry of LevelCluster is about.
func (m *image) known(c Change, node segment.ID) (*Node, error) {
	n := m.nodes[node]
	switch {
	case n == nil:
		return nil, fmt.Errorf("%w: %T of node %s, which is not registered", ErrCorrupt, c, node)
	case n.State == StateRemoved:
		return nil, fmt.Errorf("%w: %T of node %s (%d), which is removed", ErrCorrupt, c, node, n.ID)
	}
	return n, nil
}

// replace puts a changed node in place of the one of its data folder.
func (m *image) replace(before *Node, after Node) (undo func(), err error) {
	m.nodes[before.Node] = &after
	return func() { m.nodes[before.Node] = before }, nil
}

func (c NodeStarted) apply(m *image) (func(), error) {
	n, err := m.known(c, c.Node)
	switch {
	case err != nil:
		return nil, err
	case n.Run.Start == c.Start:
		return nil, fmt.Errorf("%w: start %s of node %d is registered again", ErrCorrupt, c.Start, n.ID)
	case m.level < c.MinLevel || m.level > c.MaxLevel:
		return nil, fmt.Errorf("%w: node %d supports feature levels %d to %d, %d is in force", ErrCorrupt, n.ID, c.MinLevel, c.MaxLevel, m.level)
	}
	started := *n
	started.Run, started.Fence = c.Run, NotFenced
	started.Run.Listeners = slices.Clone(c.Listeners)
	if n.State != StateDrained {
		started.State = StateServing
	}
	return m.replace(n, started)
}

func (c NodeSet) apply(m *image) (func(), error) {
	n, err := m.known(c, c.Node)
	if err == nil {
		err = m.checkSet(n, c.State)
	}
	if err != nil {
		return nil, err
	}
	set := *n
	if set.State = c.State; c.State == StateRemoved {
		set.Run, set.Fence = Run{}, NotFenced
	}
	return m.replace(n, set)
}

// checkSet checks the change of a node's state.
func (m *image) checkSet(n *Node, to NodeState) error {
	allowed := map[NodeState][]NodeState{
		0:            {StateRemoved},
		StateServing: {StateLeaving, StateDrained, StateRemoved},
		StateLeaving: {StateDrained, StateRemoved},
		StateDrained: {StateServing, StateRemoved},
	}
	if !slices.Contains(allowed[n.State], to) {
		return fmt.Errorf("%w: node %d is %v and becomes %v", ErrCorrupt, n.ID, n.State, to)
	}
	if to == StateRemoved {
		for j, a := range m.assigned {
			if a.Node == n.Node || a.Home == n.Node {
				return fmt.Errorf("%w: node %d is removed, but journal %d is assigned to it or has its home there", ErrCorrupt, n.ID, j)
			}
		}
	}
	if to != StateLeaving && m.lastServing(n) {
		return fmt.Errorf("%w: node %d is the last that serves, and becomes %v", ErrCorrupt, n.ID, to)
	}
	return nil
}

// lastServing reports whether no other node could take the place of one that serves. A
// fenced node does not take the place of one that answers.
func (m *image) lastServing(n *Node) bool {
	if !n.Ingests() || n.State != StateServing && n.State != StateLeaving {
		return false
	}
	for _, other := range m.nodes {
		if other != n && other.Serves() && (other.Lives() || !n.Lives()) {
			return false
		}
	}
	return true
}

func (c NodeFenced) apply(m *image) (func(), error) {
	n, err := m.known(c, c.Node)
	switch {
	case err != nil:
		return nil, err
	case n.State == 0:
		return nil, fmt.Errorf("%w: node %d is fenced or not, but has no start", ErrCorrupt, n.ID)
	case n.Fence == c.Fence:
		return nil, fmt.Errorf("%w: node %d is fenced again: %v", ErrCorrupt, n.ID, c.Fence)
	}
	fenced := *n
	fenced.Fence = c.Fence
	return m.replace(n, fenced)
}

func (c JournalAssigned) apply(m *image) (func(), error) {
	before, had := m.assigned[c.Journal]
	switch {
	case c.Journal > m.journals:
		return nil, fmt.Errorf("%w: journal %d is assigned, the last is %d", ErrCorrupt, c.Journal, m.journals)
	case c.Number != before.Number+1:
		return nil, fmt.Errorf("%w: assignment %d of journal %d after %d", ErrCorrupt, c.Number, c.Journal, before.Number)
	}
	if home := m.nodes[c.Home]; home == nil || home.State == StateRemoved || home.State == 0 {
		return nil, fmt.Errorf("%w: the home of journal %d is node %s, which is not there", ErrCorrupt, c.Journal, c.Home)
	}
	// The node of an assignment that changes only the home was checked before.
	if n := m.nodes[c.Node]; !c.Node.IsZero() && (c.Node != before.Node || c.Why != WhyHomeRemoved) && (n == nil || !n.Serves() || !n.Lives()) {
		return nil, fmt.Errorf("%w: journal %d is assigned to node %s, which does not serve", ErrCorrupt, c.Journal, c.Node)
	}
	m.assigned[c.Journal] = c.Assignment
	return func() {
		if m.assigned[c.Journal] = before; !had {
			delete(m.assigned, c.Journal)
		}
	}, nil
}

func (c NoOp) apply(m *image) (func(), error) { return func() {}, nil }

// unready returns a node that does not support a feature level as far as is known, or nil.
func (m *image) unready(level uint16) *Node {
	if level <= LevelCluster {
		return nil // no node has registered its levels yet
	}
	for _, n := range m.nodeList() {
		if n.State != StateRemoved && (level < n.Run.MinLevel || level > n.Run.MaxLevel) {
			return &n
		}
	}
	return nil
}
