package metadata

import (
	"context"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// This part of Leader serves the cluster (CLUSTER.md).

// Change commits changes, all or none. Without the leadership the error is
// ErrNotController.
func (l *Leader) Change(ctx context.Context, changes ...Change) error {
	return l.do(ctx, &command{plan: func(c *Controller) ([]segment.Entry, error) { return c.Change(changes...) }})
}

// StartNode commits the registration of a run, and returns the broker id of its data folder;
// see Controller.
func (l *Leader) StartNode(ctx context.Context, node segment.ID, run Run) (id int32, err error) {
	var planned int32 // the plan may still be running after an error
	err = l.do(ctx, &command{plan: func(c *Controller) (entries []segment.Entry, err error) {
		entries, planned, err = c.StartNode(node, run)
		return entries, err
	}})
	if err != nil {
		return 0, err
	}
	return planned, nil
}

// Resign ends the leadership, or the way to it; without one it does nothing.
func (l *Leader) Resign(ctx context.Context) error {
	return l.loop.Do(ctx, func() {
		if l.life.leading != nil {
			l.life.Resign(nil)
		}
	})
}

// Pulse is how far the journal has come; see journal.Loop.
func (l *Leader) Pulse(ctx context.Context) (journal.Pulse, error) {
	return l.loop.Pulse(ctx, l.life.Successor)
}
