package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/varvelog/varve/metadata"
)

// lastNode is the id of a node that SetNode takes for the last one that serves.
const lastNode = 9

// SetNode changes a node in members.
func (c *cluster) SetNode(_ context.Context, id int32, state metadata.NodeState, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.adminUp:
		return metadata.ErrNotController
	case c.members == nil:
		return metadata.ErrUnknownLevel
	case c.members.node(id) == nil:
		return fmt.Errorf("%w: %d", metadata.ErrUnknownNode, id)
	case id == lastNode:
		return metadata.ErrLastServing
	case !validateOnly:
		m := Members{Nodes: slices.Clone(c.members.Nodes), Journals: c.members.Journals}
		m.node(id).State = state
		c.members = &m
	}
	return nil
}

func (c *cluster) GrowTo(_ context.Context, journals uint32, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.members == nil:
		return metadata.ErrUnknownLevel
	case journals < c.members.Journals:
		return metadata.ErrFewerJournals
	case !validateOnly:
		c.members = &Members{Nodes: c.members.Nodes, Journals: journals}
	}
	return nil
}
