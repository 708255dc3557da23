package metadata

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/varvelog/varve/tiering/segment"
)

// The results of requests about nodes that fail.
var (
	ErrUnknownNode     = errors.New("unknown node")
	ErrRemovedNode     = errors.New("the node was removed, its data folder never joins again")
	ErrLastServing     = errors.New("it is the last ingest node that serves: undrain or start another one first")
	ErrNodeInUse       = errors.New("the node is in use: drain it first, and wait until it leads nothing")
	ErrTooManyJournals = errors.New("too many data journals")
	ErrFewerJournals   = errors.New("data journals never become fewer")
)

// MaxJournals limits the data journals that a cluster is given on request.
const MaxJournals = 1024

// GrowTo plans data journals until there are as many. A number that there is already
// needs nothing. Below LevelCluster a journal has no leader until the node starts again.
func (c *Controller) GrowTo(journals uint32) ([]segment.Entry, error) {
	switch {
	case c.img.level < LevelCluster:
		return nil, c.belowCluster("a cluster gets more journals")
	case journals < c.img.journals:
		return nil, fmt.Errorf("%w: there are %d", ErrFewerJournals, c.img.journals)
	}
	return c.createJournals(journals)
}

func (c *Controller) createJournals(journals uint32) ([]segment.Entry, error) {
	if journals > MaxJournals {
		return nil, fmt.Errorf("%w: %d, the limit is %d", ErrTooManyJournals, journals, MaxJournals)
	}
	var changes []Change
	for id := c.img.journals + 1; id <= journals; id++ {
		changes = append(changes, JournalCreated{id})
	}
	return c.Change(changes...)
}

// Change plans changes, all or none.
func (c *Controller) Change(changes ...Change) ([]segment.Entry, error) {
	entries := make([]segment.Entry, 0, len(changes))
	for _, change := range changes {
		e, err := Encode(change)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if i, err := c.img.applyAll(changes); err != nil {
		return nil, fmt.Errorf("plan metadata change %T: %w", changes[i], err)
	}
	return entries, nil
}

// StartNode plans the registration of a run. The caller has seen the node answer at the
// address that it advertises. A run that is registered already needs nothing.
func (c *Controller) StartNode(node segment.ID, run Run) ([]segment.Entry, int32, error) {
	n, level := c.img.nodes[node], c.img.level
	switch {
	case level < LevelCluster:
		return c.RegisterNode(node)
	case n != nil && n.State == StateRemoved:
		return nil, 0, fmt.Errorf("%w: node %d", ErrRemovedNode, n.ID)
	case n != nil && n.Run.Start == run.Start:
		return nil, n.ID, nil
	case level < run.MinLevel || level > run.MaxLevel:
		return nil, 0, fmt.Errorf("%w: %d is in force, the node supports %d to %d", ErrUnknownLevel, level, run.MinLevel, run.MaxLevel)
	}
	var changes []Change
	id := c.img.nextNode()
	if n != nil {
		id = n.ID
	} else {
		changes = append(changes, NodeRegistered{node, id})
	}
	entries, err := c.Change(append(changes, NodeStarted{node, run})...)
	return entries, id, err
}

// SetNode plans another state of a node: drained, serving again, or leaving. A state that
// it has already needs nothing.
func (c *Controller) SetNode(id int32, state NodeState) ([]segment.Entry, error) {
	n, err := c.nodeByID(id)
	switch {
	case err != nil:
		return nil, err
	case n.State == state || n.State == StateDrained && state == StateLeaving || n.State == StateLeaving && state == StateServing:
		return nil, nil // one that is drained leads nothing, one that leaves serves from its next start on
	case n.State == 0 && state != StateRemoved:
		return nil, fmt.Errorf("%w: node %d has not started since the feature level was raised", ErrUnknownNode, id)
	case state == StateRemoved:
		return c.removeNode(n)
	case state == StateDrained && c.img.lastServing(n):
		return nil, fmt.Errorf("%w: node %d", ErrLastServing, id)
	}
	return c.Change(NodeSet{n.Node, state})
}

// removeNode plans that a node never comes back. One that answers must be drained. Its
// journals that have their home there get another one.
func (c *Controller) removeNode(n *Node) ([]segment.Entry, error) {
	if c.img.lastServing(n) {
		return nil, fmt.Errorf("%w: node %d", ErrLastServing, n.ID)
	}
	if n.Lives() && n.State != StateDrained {
		return nil, fmt.Errorf("%w: node %d is %v, and answers", ErrNodeInUse, n.ID, n.State)
	}
	if has := c.img.assignedTo(n.Node); len(has) > 0 {
		return nil, fmt.Errorf("%w: node %d still has %s", ErrNodeInUse, n.ID, listJournals(has))
	}
	var changes []Change
	for _, a := range c.img.assignmentList() {
		if a.Number > 0 && a.Home == n.Node {
			home, err := c.homeInstead(a)
			if err != nil {
				return nil, err
			}
			a.Number, a.Home, a.Why = a.Number+1, home, WhyHomeRemoved
			changes = append(changes, JournalAssigned{a})
		}
	}
	return c.Change(append(changes, NodeSet{n.Node, StateRemoved})...)
}

// homeInstead returns the node that has a journal, or the first that serves.
func (c *Controller) homeInstead(a Assignment) (segment.ID, error) {
	if !a.Node.IsZero() {
		return a.Node, nil
	}
	for _, n := range c.img.nodeList() {
		if n.Serves() && n.Node != a.Home {
			return n.Node, nil
		}
	}
	return segment.ID{}, fmt.Errorf("%w: no node serves that could be the home of journal %d", ErrLastServing, a.Journal)
}

func (c *Controller) nodeByID(id int32) (*Node, error) {
	if c.img.level < LevelCluster {
		return nil, c.belowCluster("nodes are drained and removed")
	}
	for _, n := range c.img.nodes {
		if n.ID != id {
			continue
		}
		if n.State == StateRemoved {
			return nil, fmt.Errorf("%w: node %d", ErrRemovedNode, id)
		}
		return n, nil
	}
	return nil, fmt.Errorf("%w: %d", ErrUnknownNode, id)
}

// belowCluster is the error of a request that needs a higher feature level.
func (c *Controller) belowCluster(what string) error {
	return fmt.Errorf("%w: %s from %d on, %d is in force; \"varve cluster upgrade\" raises it", ErrUnknownLevel, what, LevelCluster, c.img.level)
}

// maxListed limits the journals that an error names.
const maxListed = 20

func listJournals(ids []uint32) string {
	if len(ids) == 1 {
		return fmt.Sprintf("journal %d", ids[0])
	}
	more := ""
	count := len(ids)
	if count > maxListed {
		ids, more = ids[:maxListed], ", ..."
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = strconv.FormatUint(uint64(id), 10)
	}
	return fmt.Sprintf("%d journals: %s%s", count, strings.Join(names, ", "), more)
}
