package metadata

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// plan commits changes as a controller does that has evidence for them.
func plan(t *testing.T, l *Leader, changes ...Change) {
	t.Helper()
	err := l.do(t.Context(), &command{plan: func(c *Controller) ([]segment.Entry, error) { return c.Change(changes...) }})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNodesAndJournalsAreChangedThroughTheController(t *testing.T) {
	s := NewUpTo(LevelCluster)
	l := controllerOf(t, mem.New(time.Now, nil), s)
	ctx, self := t.Context(), segment.ID{3}
	plan(t, l, NodeStarted{self, started(1, 1, RoleIngest).Run})
	if err := l.SetNode(ctx, 1, StateDrained, false); !errors.Is(err, ErrLastServing) {
		t.Errorf("drained the only node: %v", err)
	}
	plan(t, l, NodeRegistered{nodeNo(2), 2}, started(2, 2, RoleIngest))
	seq := s.Head()
	if err := l.SetNode(ctx, 1, StateDrained, true); err != nil || s.Cluster().Node(self).State != StateServing {
		t.Errorf("a check drains: %v", err)
	}
	if err := l.GrowTo(ctx, 4, true); err != nil || s.Head() != seq {
		t.Errorf("a check grows: %v, head %d", err, s.Head())
	}
	if err := l.GrowTo(ctx, 4, false); err != nil || len(s.Journals()) != 4 {
		t.Errorf("grown to %d journals: %v", len(s.Journals()), err)
	}
	if err := l.SetNode(ctx, 1, StateDrained, false); err != nil || s.Cluster().Node(self).State != StateDrained {
		t.Errorf("drained: %v", err)
	}
	if err := l.SetNode(ctx, 1, StateRemoved, false); !errors.Is(err, ErrNodeInUse) {
		t.Errorf("the controller removes itself: %v", err)
	}
	if err := l.SetNode(ctx, 1, StateServing, false); err != nil || s.Cluster().Node(self).State != StateServing {
		t.Errorf("serves again: %v", err)
	}
}
