package membership

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// TestHandOverThatIsNotDoneIsWithdrawn: the node that waits for the journal reports that.
func TestHandOverThatIsNotDoneIsWithdrawn(t *testing.T) {
	for name, c := range map[string]struct {
		declined uint32
		from, to time.Duration
	}{
		"in silence":            {0, handOverLimit - time.Second, handOverLimit + time.Second},
		"declined":              {2, time.Second, 2 * time.Second},
		"an earlier one before": {1, handOverLimit - time.Second, handOverLimit + time.Second},
	} {
		cluster := clusterOf(2, 1, 1, 2)
		cluster.Assignments[1].Home, cluster.Assignments[1].Moves = nodeNo(2), 1
		b := newBench(t, cluster)
		got := b.planned()
		for ; len(got) == 0; got = b.planned() {
			b.pass(TickEvery)
		}
		if len(got) != 1 || got[0].(metadata.JournalAssigned).Why != metadata.WhyHome {
			t.Fatalf("%s: planned %v", name, got)
		}
		began := b.now
		got = nil
		for len(got) == 0 && b.now.Sub(began) < 2*handOverLimit {
			b.pass(time.Second)
			b.step(Heard{Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Journals: []Report{
				{Leader: Leader{Journal: 2}, Taking: b.now.Sub(began) + 1}, {Leader: Leader{Journal: 3, Node: nodeNo(2), Epoch: 1}, Leads: true}}}})
			b.step(Heard{Heartbeat{Node: nodeNo(1), Start: runOf(1).Start, Journals: []Report{
				{Leader: Leader{Journal: 1, Node: nodeNo(1), Epoch: 9}, Leads: true}, {Leader: Leader{Journal: 2, Node: nodeNo(1), Epoch: 9}, Leads: true, Declined: c.declined}}}})
			got = b.planned()
		}
		took := b.now.Sub(began)
		if len(got) != 1 || got[0].(metadata.JournalAssigned).Why != metadata.WhyWithdrawn || got[0].(metadata.JournalAssigned).Node != nodeNo(1) || took < c.from || took > c.to {
			t.Errorf("%s: after %v: %v", name, took, got)
		}
	}
}

func TestNodeThatIsToEndLeaves(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.pass(time.Minute)
	b.planned()
	b.step(Heard{Heartbeat{Node: nodeNo(2), Start: segment.ID{9}, Leaving: true}}) // of another start
	if got := b.planned(); len(got) > 0 {
		t.Fatalf("planned %v", got)
	}
	b.step(Heard{Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Leaving: true, Journals: []Report{{Leader: Leader{Journal: 2, Node: nodeNo(2), Epoch: 1}, Leads: true}}}})
	got := b.planned()
	if len(got) != 2 || got[0] != (metadata.NodeSet{Node: nodeNo(2), State: metadata.StateLeaving}) || got[1].(metadata.JournalAssigned).Why != metadata.WhyLeaving {
		t.Fatalf("planned %v", got)
	}
	next := *b.c
	next.Nodes = slices.Clone(b.c.Nodes)
	next.Seq++
	next.Nodes[1].Run.Start, next.Nodes[1].State = segment.ID{8}, metadata.StateServing
	b.c = &next
	b.step(Applied{&next})
	b.pass(20 * time.Second)
	for _, c := range b.planned() {
		if _, set := c.(metadata.NodeSet); set {
			t.Errorf("the next start leaves: %v", c)
		}
	}
}

func TestPlanThatFailsIsMadeAgainLater(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.pass(time.Minute)
	b.planned()
	plans := func(ev Event) int {
		n := 0
		for _, a := range b.j.Step(b.now, ev) {
			if _, plan := a.(Plan); plan {
				n++
			}
		}
		return n
	}
	if n := plans(Heard{Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Leaving: true}}); n != 1 {
		t.Fatalf("%d plans", n)
	}
	if n := plans(Tick{}); n != 0 {
		t.Errorf("%d plans while one is under way", n)
	}
	if n := plans(Planned{errors.New("refused")}); n != 0 {
		t.Errorf("%d plans at once after one that failed", n)
	}
	b.now = b.now.Add(planAgainAfter)
	if n := plans(Tick{}); n != 1 {
		t.Errorf("%d plans later", n)
	}
}

// TestSmallPartStaysSmall: a controller that fences some of those that do not answer is no
// majority of the others.
func TestSmallPartStaysSmall(t *testing.T) {
	c := clusterOf(5, 1)
	b := newBench(t, c)
	b.pass(time.Minute)
	for i := range byte(3) {
		b.down[i+3] = true
	}
	for range 30 * time.Second / TickEvery {
		b.pass(TickEvery)
		for _, a := range b.out {
			if d, ok := a.(Dial); ok {
				b.step(Dialed{d.Token, TimedOut})
			}
		}
	}
	for i := range 3 {
		if b.c.Nodes[i+2].Fence != metadata.FencedSilent {
			t.Fatalf("node %d has no journals, and is %v", i+3, b.c.Nodes[i+2].Fence)
		}
	}
	if b.j.detector.majority(b.now, b.c) {
		t.Error("two of five are a majority")
	}
}

// TestStoreIsAskedAgainBeforeAJournalMoves: the first probe that succeeds may mean that the
// store is back for all.
func TestStoreIsAskedAgainBeforeAJournalMoves(t *testing.T) {
	for _, back := range []bool{true, false} {
		b := newBench(t, clusterOf(3, 1, 2, 3))
		b.pass(time.Minute)
		b.planned()
		report := Report{Leader: Leader{Journal: 2, Node: nodeNo(2), Epoch: 1}, Leads: true, Blocked: true}
		blocked := Heard{Heartbeat{Node: nodeNo(2), Start: runOf(2).Start, Journals: []Report{report}}}
		probe := func(ev Event, node byte) Probe {
			t.Helper()
			b.step(ev)
			for _, a := range b.out {
				if p, ok := a.(Probe); ok && p.Node == nodeNo(node) {
					b.out = nil
					return p
				}
			}
			t.Fatalf("node %d is not asked: %v", node, b.out)
			return Probe{}
		}
		first := probe(blocked, 1)
		second := probe(Probed{first.Token, true}, 2)
		b.step(Probed{second.Token, back})
		got := b.planned()
		if back && len(got) > 0 || !back && (len(got) != 1 || got[0].(metadata.JournalAssigned).Why != metadata.WhyBlocked || got[0].(metadata.JournalAssigned).Node != nodeNo(1)) {
			t.Errorf("the node's own probe then gives %v: planned %v", back, got)
		}
	}
}

// TestJournalThatIsHandedOverStaysWithItsLeader: the node that waits for it dies.
func TestJournalThatIsHandedOverStaysWithItsLeader(t *testing.T) {
	cluster := clusterOf(3, 1, 1, 2)
	cluster.Assignments[1].Home, cluster.Assignments[1].Moves = nodeNo(2), 1
	b := newBench(t, cluster)
	for len(b.planned()) == 0 {
		b.pass(TickEvery)
	}
	b.down[2] = true
	b.step(Broken{nodeNo(2), runOf(2).Start})
	b.step(Dialed{b.lastDial(2), Refused})
	got := b.planned()
	if len(got) != 3 || got[1].(metadata.JournalAssigned).Node != nodeNo(1) || got[2].(metadata.JournalAssigned).Node != nodeNo(3) {
		t.Errorf("planned %v", got)
	}
}

// TestMistakesDoubleTheHandshakes: a node that was fenced for silence goes on.
func TestMistakesDoubleTheHandshakes(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.pass(time.Minute)
	for i, want := range []int{2, 4, 8, 8} {
		b.down[2] = true
		failed, last := 0, b.lastDial(2)
		for until := b.now.Add(30 * time.Second); b.c.Node(nodeNo(2)).Lives() && b.now.Before(until); {
			if token := b.lastDial(2); token != last {
				failed, last = failed+1, token
				b.step(Dialed{token, TimedOut})
				continue
			}
			b.pass(TickEvery)
		}
		if failed != want {
			t.Fatalf("after %d mistakes: fenced after %d handshakes, want %d", i, failed, want)
		}
		b.down[2] = false
		if b.pass(10 * time.Second); !b.c.Node(nodeNo(2)).Lives() {
			t.Fatal("it is not counted on again")
		}
	}
	b.pass(calmAfter - time.Second) // in one step
	b.pass(time.Minute)
	if got := b.j.detector.needed(b.now); got != silentTries {
		t.Errorf("an hour later: %d handshakes", got)
	}
}

// TestFencedNodeMustBeReached: its heartbeats come, and no handshake with it succeeds.
func TestFencedNodeMustBeReached(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.pass(time.Minute)
	b.down[2] = true
	b.step(Broken{nodeNo(2), runOf(2).Start})
	b.step(Dialed{b.lastDial(2), Refused})
	if b.c.Node(nodeNo(2)).Lives() {
		t.Fatal("it is not fenced")
	}
	for range 30 * time.Second / TickEvery {
		b.out = nil
		b.pass(TickEvery)
		if b.now.UnixMilli()%500 == 0 {
			b.step(Heard{Heartbeat{Node: nodeNo(2), Start: runOf(2).Start}})
		}
		if token := b.lastDial(2); token != 0 {
			b.step(Dialed{token, TimedOut})
		}
	}
	if b.c.Node(nodeNo(2)).Lives() {
		t.Error("it is counted on, and others do not reach it")
	}
	b.down[2] = false
	if b.pass(10 * time.Second); !b.c.Node(nodeNo(2)).Lives() {
		t.Error("it is not counted on when it is reached")
	}
}
