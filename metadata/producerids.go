package metadata

import (
	"context"

	"github.com/varvelog/varve/tiering/segment"
)

// ProducerIDs returns a block of ids that no producer was ever given, for a node that gives
// them to its clients.
func (l *Leader) ProducerIDs(ctx context.Context) (ProducerIDBlock, error) {
	var ids ProducerIDBlock
	err := l.do(ctx, &command{plan: func(c *Controller) (entries []segment.Entry, err error) {
		entries, ids, err = c.AllocateProducerIDs(ProducerIDBlockSize)
		return entries, err
	}})
	if err != nil {
		return ProducerIDBlock{}, err // the plan may still be running
	}
	return ids, nil
}
