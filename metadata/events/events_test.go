package events

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

var one, two = segment.ID{1}, segment.ID{2}

// world is a Log on a clock of its own.
type world struct {
	*Log
	now   time.Time
	lines strings.Builder
	took  []string // take-overs of node 1
}

func newWorld() *world {
	w := &world{now: time.Unix(100, 0)}
	w.Log = New(Options{
		Self: one, Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(&w.lines, nil)),
		OnTakeOver: func(why string, took time.Duration) { w.took = append(w.took, fmt.Sprint(why, " ", took)) },
	})
	return w
}

// cluster is two nodes that serve, and a journal of node 2.
func cluster() metadata.Cluster {
	return metadata.Cluster{Level: 3, Nodes: []metadata.Node{
		{Node: one, ID: 1, State: metadata.StateServing, Run: metadata.Run{Start: segment.ID{11}}},
		{Node: two, ID: 2, State: metadata.StateServing, Run: metadata.Run{Start: segment.ID{21}}},
	}, Assignments: []metadata.Assignment{{Journal: 1, Number: 1, Node: two, Home: two, Why: metadata.WhyFirst}}}
}

// apply applies a state that change makes of a copy of the last one.
func (w *world) apply(change func(c *metadata.Cluster)) {
	next := metadata.Cluster{}
	if w.cluster != nil {
		next = *w.cluster
	}
	next.Nodes, next.Assignments = slices.Clone(next.Nodes), slices.Clone(next.Assignments)
	change(&next)
	next.Seq++
	w.Applied(&next)
}

// gist is the events after a number, in short.
func (w *world) gist(after uint64) (all []string) {
	for _, e := range w.Since(after) {
		all = append(all, fmt.Sprintf("%s n%d j%d e%d %s %v", e.Kind, e.Node, e.Journal, e.Epoch, e.Why, e.Took))
	}
	return all
}

func (w *world) expect(t *testing.T, after uint64, want ...string) {
	t.Helper()
	if got := w.gist(after); !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAFailOverIsNoted(t *testing.T) {
	w := newWorld()
	w.apply(func(c *metadata.Cluster) { *c = cluster() })
	w.Led(1, two, 4)
	w.now = w.now.Add(time.Second)
	w.apply(func(c *metadata.Cluster) {
		c.Nodes[1].Fence = metadata.FencedRefused
		c.Assignments[0] = metadata.Assignment{Journal: 1, Number: 2, Node: one, Home: two, Why: metadata.WhyFenced}
	})
	if since := w.FencedSince(two); !since.Equal(w.now) {
		t.Errorf("fenced since %v", since)
	}
	w.now = w.now.Add(1500 * time.Millisecond)
	w.Led(1, one, 5)
	w.Led(1, one, 5) // by a heartbeat, too
	w.Ended(1, two, 4, "late")
	w.Ended(1, one, 5, "fenced")
	w.Ended(1, one, 5, "fenced")
	w.expect(t, 0, "led n2 j1 e4 first 0s", "fenced n2 j0 e0 refused 0s", "assigned n1 j1 e2 fenced 0s", "led n1 j1 e5 fenced 1.5s", "ended n1 j1 e5 fenced 0s")
	if !slices.Equal(w.took, []string{"fenced 1.5s"}) {
		t.Errorf("take-overs of node 1: %v", w.took)
	}
	if w.lines.Len() > 0 {
		t.Error("an event waits for the output of the process")
	}
	w.Write()
	w.Write()
	at := w.now.UTC().Format("15:04:05.000")
	if lines := w.lines.String(); strings.Count(lines, "\n") != 5 || !strings.Contains(lines, "msg=cluster event=led at="+at+" node=1 journal=1 epoch=5 why=fenced took=1.5s") {
		t.Error(lines)
	}
}

func TestChangesOfNodesAreNoted(t *testing.T) {
	w := newWorld()
	w.apply(func(c *metadata.Cluster) { *c = cluster(); c.Nodes[1].Fence = metadata.FencedSilent })
	w.expect(t, 0)
	same := *w.cluster
	w.Applied(&same)
	w.expect(t, 0)
	before := w.cluster
	w.apply(func(c *metadata.Cluster) { c.Nodes[1].Fence = metadata.NotFenced })
	w.Applied(before) // by a goroutine that read it earlier
	w.apply(func(c *metadata.Cluster) { c.Nodes[0].State = metadata.StateDrained })
	w.apply(func(c *metadata.Cluster) { c.Nodes[0].Fence = metadata.FencedSilent })
	w.now = w.now.Add(time.Second)
	w.apply(func(c *metadata.Cluster) { c.Nodes[0].Fence = metadata.FencedRefused })
	if since := w.FencedSince(one); !since.Equal(w.now.Add(-time.Second)) {
		t.Errorf("other evidence: fenced since %v", since)
	}
	w.apply(func(c *metadata.Cluster) {
		c.Nodes[0].Run, c.Nodes[0].Fence = metadata.Run{Start: segment.ID{12}}, metadata.NotFenced
		c.Nodes = append(c.Nodes, metadata.Node{Node: segment.ID{3}, ID: 3, State: metadata.StateServing, Run: metadata.Run{Start: segment.ID{31}}})
	})
	if !w.FencedSince(one).IsZero() {
		t.Error("it is fenced after a start")
	}
	w.apply(func(c *metadata.Cluster) { c.Nodes[0].State, c.Nodes[0].Run = metadata.StateRemoved, metadata.Run{} })
	w.apply(func(c *metadata.Cluster) {
		c.Level = 4
		c.Assignments = append(c.Assignments, metadata.Assignment{Journal: 2}, metadata.Assignment{Journal: 3, Number: 1, Node: two, Home: two, Why: metadata.WhyFirst})
	})
	w.expect(t, 0,
		"unfenced n2 j0 e0  0s", "state n1 j0 e0 drained 0s", "fenced n1 j0 e0 silent 0s", "fenced n1 j0 e0 refused 0s",
		"started n1 j0 e0  0s", "started n3 j0 e0  0s", "state n1 j0 e0 removed 0s",
		"level n0 j0 e4  0s", "journals n0 j3 e0  0s", "assigned n2 j3 e1 first 0s")
}

func TestTheTimeOfATakeOverIsThatSinceTheAssignment(t *testing.T) {
	w := newWorld()
	w.Led(0, one, 3)
	w.apply(func(c *metadata.Cluster) { *c = cluster() })
	w.now = w.now.Add(time.Minute)
	w.Led(1, two, 2) // assigned before the first state
	w.now = w.now.Add(time.Minute)
	w.apply(func(c *metadata.Cluster) { // withdrawn: it leads already
		c.Assignments[0].Number, c.Assignments[0].Why = 2, metadata.WhyWithdrawn
	})
	w.now = w.now.Add(time.Minute)
	w.Led(1, two, 3)
	w.Led(1, one, 4)
	w.Ended(0, one, 3, "hands over")
	w.now = w.now.Add(time.Second)
	w.Led(0, two, 5)
	w.expect(t, 0, "led n0 j0 e3 controller 0s", "led n2 j1 e2 first 0s", "assigned n2 j1 e2 withdrawn 0s", "led n2 j1 e3 withdrawn 0s",
		"led n1 j1 e4 not assigned 0s", "ended n1 j0 e3 hands over 0s", "led n2 j0 e5 controller 1s")
}

func TestTheMemoryOfEventsIsBounded(t *testing.T) {
	w := newWorld()
	for epoch := range uint32(3 * maxEvents) {
		w.Led(1, one, epoch+1)
		if n := len(w.Since(0)); n > maxEvents {
			t.Fatalf("%d events", n)
		}
	}
	all := w.Since(0)
	if last := all[len(all)-1]; last.Number != 3*maxEvents || len(all) < maxEvents/2 {
		t.Errorf("%d events, the last is %d", len(all), last.Number)
	}
	if got := w.Since(3*maxEvents - 2); len(got) != 2 || got[0].Number != 3*maxEvents-1 {
		t.Errorf("%+v", got)
	}
	if got := w.Since(3 * maxEvents); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := w.Since(9 * maxEvents); len(got) != len(all) {
		t.Errorf("after a number of another process: %d events", len(got))
	}
}
