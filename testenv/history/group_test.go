package history

import (
	"slices"
	"testing"
	"time"
)

func TestGroupFindsWhatWasSkippedAndWhatWentBack(t *testing.T) {
	for name, c := range map[string]struct {
		report func(g *Group)
		want   []Kind
	}{
		"all in order": {func(g *Group) {
			g.Processed(1, 0)
			g.Processed(1, 1)
			g.Committed("m", 1, 2)
			g.Ask().Offset("w", 1, 2)
		}, nil},
		"processed again, and before the producer knows": {func(g *Group) {
			g.Processed(1, 2)
			g.Processed(1, 0)
			g.Processed(1, 1)
			g.Processed(1, 1)
			g.Committed("m", 1, 3)
		}, nil},
		"never processed": {func(g *Group) { g.Processed(1, 1) }, []Kind{Skipped}},
		"committed and not processed": {func(g *Group) {
			g.Processed(1, 1)
			g.Committed("m", 1, 2)
			g.Processed(1, 0)
		}, []Kind{Skipped}},
		"returned less than was acknowledged": {func(g *Group) {
			g.Processed(1, 0)
			g.Processed(1, 1)
			g.Committed("m", 1, 2)
			g.Ask().Offset("w", 1, 1)
		}, []Kind{CommitWentBack}},
		"returned less than before": {func(g *Group) {
			g.Processed(1, 0)
			g.Processed(1, 1)
			g.Ask().Offset("w", 1, 2)
			g.Ask().Offset("w", 1, 0)
		}, []Kind{CommitWentBack}},
		"acknowledged after the question": {func(g *Group) {
			g.Processed(1, 0)
			g.Processed(1, 1)
			q := g.Ask()
			g.Committed("m", 1, 2)
			q.Offset("w", 1, 0)
		}, nil},
	} {
		h := New(1, func() time.Duration { return 0 })
		g := h.NewGroup(2)
		g.Sent(1, 0)
		g.Sent(1, 1)
		c.report(g)
		g.Check()
		if got := h.Check().Kinds(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestGroupKnowsWhatIsLeft(t *testing.T) {
	g := New(1, func() time.Duration { return 0 }).NewGroup(2)
	g.Sent(0, 0)
	g.Sent(1, 4)
	g.Processed(1, 0)
	g.Processed(1, 1)
	g.Committed("m", 1, 1)
	if unprocessed, uncommitted := g.Left(); unprocessed != 4 || uncommitted != 5 {
		t.Errorf("left %d, %d", unprocessed, uncommitted)
	}
}
