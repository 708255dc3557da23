package membership

import (
	"errors"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

func nodeNo(i byte) segment.ID { return segment.ID{0xa0, 15: i} }

func runOf(i byte) metadata.Run {
	return metadata.Run{Start: segment.ID{0x5a, 15: i}, MinLevel: 1, MaxLevel: metadata.LevelCluster, Roles: metadata.RoleIngest,
		Listeners: []metadata.Listener{{Name: "peer", Host: "host", Port: uint16(i)}}}
}

// clusterOf is a cluster of nodes that serve, and of journals, each at home on one of them.
func clusterOf(nodes byte, homes ...byte) *metadata.Cluster {
	c := &metadata.Cluster{Seq: 1, Level: metadata.LevelCluster}
	for i := range nodes {
		c.Nodes = append(c.Nodes, metadata.Node{Node: nodeNo(i + 1), ID: int32(i) + 1, State: metadata.StateServing, Run: runOf(i + 1)})
	}
	for i, home := range homes {
		c.Assignments = append(c.Assignments, metadata.Assignment{Journal: uint32(i) + 1, Number: 1, Node: nodeNo(home), Home: nodeNo(home), Why: metadata.WhyFirst})
	}
	return c
}

// bench drives a Judge of node 1 with a clock of its own.
type bench struct {
	t    *testing.T
	j    *Judge
	c    *metadata.Cluster
	now  time.Time
	down map[byte]bool // nodes that send no heartbeats
	led  map[uint32]byte
	out  []Action
}

func newBench(t *testing.T, c *metadata.Cluster) *bench {
	b := &bench{t: t, j: NewJudge(nodeNo(1)), c: c, now: time.Unix(1000, 0), down: map[byte]bool{}, led: map[uint32]byte{}}
	for _, a := range c.Assignments {
		b.led[a.Journal] = a.Node[15]
	}
	b.step(Applied{c})
	b.pass(2 * time.Hour) // the assignments are old
	b.step(Led{})
	return b
}

func (b *bench) step(ev Event) []Action {
	out := b.j.Step(b.now, ev)
	for _, a := range out {
		switch a := a.(type) {
		case Dial:
			if !b.down[a.Node[15]] {
				b.out = append(b.out, b.step(Dialed{a.Token, Proved})...)
			}
		case Plan:
			b.commit(a.Changes)
		}
	}
	b.out = append(b.out, out...)
	return out
}

// commit applies a plan as the state does, without its checks.
func (b *bench) commit(changes []metadata.Change) {
	c := *b.c
	c.Seq++
	d := newDraft(&c)
	for _, change := range changes {
		switch change := change.(type) {
		case metadata.NodeFenced:
			d.Node(change.Node).Fence = change.Fence
		case metadata.NodeSet:
			d.Node(change.Node).State = change.State
		case metadata.JournalAssigned:
			d.Assignments[change.Journal-1] = change.Assignment
		}
	}
	c.Nodes, c.Assignments = d.Nodes, d.Assignments
	b.c = &c
	b.step(Applied{&c})
	b.step(Planned{})
}

// pass lets time pass, with heartbeats of all nodes that are not down.
func (b *bench) pass(d time.Duration) {
	step := TickEvery
	if d > time.Hour {
		step = d
	}
	for until := b.now.Add(d); b.now.Before(until); {
		b.now = b.now.Add(step)
		for _, n := range b.c.Nodes {
			i := n.Node[15]
			if b.down[i] || b.now.UnixMilli()%500 != 0 {
				continue
			}
			h := Heartbeat{Node: n.Node, Start: n.Run.Start}
			for _, a := range b.c.Assignments {
				if b.led[a.Journal] == i {
					h.Journals = append(h.Journals, Report{Leader: Leader{Journal: a.Journal, Node: n.Node, Epoch: a.Number}, Leads: true})
				}
			}
			b.step(Heard{h})
		}
		b.step(Tick{})
	}
}

// planned returns the changes that were planned since the last call.
func (b *bench) planned() (all []metadata.Change) {
	for _, a := range b.out {
		if p, ok := a.(Plan); ok {
			all = append(all, p.Changes...)
		}
	}
	b.out = nil
	return all
}

// lastDial returns the token of the last handshake with a node.
func (b *bench) lastDial(node byte) (token uint64) {
	for _, a := range b.out {
		if d, ok := a.(Dial); ok && d.Node == nodeNo(node) {
			token = d.Token
		}
	}
	return token
}

func TestRefusalMovesJournalsAtOnce(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 2, 3))
	b.pass(time.Minute)
	if got := b.planned(); len(got) > 0 {
		t.Fatalf("planned %v while nothing is wrong", got)
	}
	b.down[2] = true
	b.step(Broken{nodeNo(2), runOf(2).Start})
	b.step(Dialed{b.lastDial(2), Refused})
	got := b.planned()
	if len(got) != 3 || got[0] != (metadata.NodeFenced{Node: nodeNo(2), Fence: metadata.FencedRefused}) {
		t.Fatalf("planned %v", got)
	}
	share := map[segment.ID]int{}
	for _, c := range got[1:] {
		a := c.(metadata.JournalAssigned)
		share[a.Node]++
		if a.Why != metadata.WhyFenced || a.Moves != 1 || a.Home != nodeNo(2) || a.Number != 2 {
			t.Errorf("assigned %+v", a)
		}
	}
	if share[nodeNo(1)] != 1 || share[nodeNo(3)] != 1 {
		t.Errorf("shared out %v, each had one already", share)
	}
}

func TestConnectionThatBreaksAloneProvesNothing(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.step(Broken{nodeNo(2), segment.ID{9}})
	b.step(Broken{nodeNo(2), runOf(2).Start})
	b.pass(10 * time.Second)
	if got := b.planned(); len(got) > 0 {
		t.Errorf("planned %v", got)
	}
}

func TestSilenceTakesTwoHandshakes(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.pass(time.Minute)
	b.out = nil
	b.down[2] = true
	b.pass(1600 * time.Millisecond)
	first := b.lastDial(2)
	b.step(Dialed{first, TimedOut})
	b.step(Dialed{first, TimedOut}) // the same again
	second := b.lastDial(2)
	if got := b.planned(); len(got) > 0 {
		t.Fatalf("planned %v after one handshake", got)
	}
	b.pass(TickEvery)
	b.step(Dialed{second, TimedOut})
	if got := b.planned(); len(got) != 2 || got[0] != (metadata.NodeFenced{Node: nodeNo(2), Fence: metadata.FencedSilent}) {
		t.Errorf("planned %v after two", got)
	}
}

func TestControllerThatStoodStillHasHeardAll(t *testing.T) {
	b := newBench(t, clusterOf(3, 1, 2, 3))
	b.pass(time.Minute)
	b.out = nil
	b.down[2], b.down[3] = true, true
	b.pass(2 * time.Second)
	token := b.lastDial(2)
	b.now = b.now.Add(5 * time.Second)
	b.step(Dialed{token, TimedOut})
	b.step(Tick{})
	if p := b.j.detector.peers[nodeNo(2)]; p.failed != 0 || b.now.Sub(p.heard) != 0 {
		t.Errorf("after it stood still: %+v", p)
	}
}

func TestSmallPartFencesNoNodeWhoseJournalsMove(t *testing.T) {
	b := newBench(t, clusterOf(5, 1, 2, 3, 4))
	b.pass(time.Minute)
	b.out = nil
	head := uint64(0)
	for i := range byte(4) {
		b.down[i+2] = true
	}
	silence := func(d time.Duration, moves func(journal uint32) bool) {
		for range d / TickEvery {
			b.pass(TickEvery)
			for _, a := range b.out {
				switch a := a.(type) {
				case Dial:
					b.step(Dialed{a.Token, TimedOut})
				case Look:
					if head++; !moves(a.Journal) {
						b.step(Looked{a.Journal, uint64(a.Journal), false})
					} else {
						b.step(Looked{a.Journal, head + 100, false})
					}
				}
			}
		}
	}
	silence(30*time.Second, func(uint32) bool { return true })
	for _, c := range b.planned() {
		if f, fenced := c.(metadata.NodeFenced); fenced && f.Node != nodeNo(5) || !fenced && c != (metadata.NoOp{}) {
			t.Fatalf("planned %+v", c)
		}
	}
	silence(30*time.Second, func(j uint32) bool { return j != 2 })
	for _, c := range b.planned() {
		if f, fenced := c.(metadata.NodeFenced); fenced && f.Node != nodeNo(2) {
			t.Errorf("planned %+v", c)
		}
	}
	if n := b.c.Node(nodeNo(2)); n.Fence != metadata.FencedSilent || b.c.Assignment(2).Node != nodeNo(1) {
		t.Errorf("a silent node whose journal is still: %+v", n)
	}
}

func TestJournalGoesHomeLaterAfterEachMove(t *testing.T) {
	for moves, want := range map[uint16]time.Duration{0: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute, 4: 4 * time.Minute, 8: time.Hour, 60000: time.Hour} {
		if got := doubled(homeAfter, int(moves)-1, homeMost); got != want {
			t.Errorf("after %d moves: %v, want %v", moves, got, want)
		}
	}
	c := clusterOf(2, 1, 2)
	c.Assignments[1].Node, c.Assignments[1].Moves = nodeNo(1), 2
	b := newBench(t, c)
	b.pass(55 * time.Second)
	if got := b.planned(); len(got) > 0 {
		t.Fatalf("planned %v", got)
	}
	b.pass(10 * time.Second)
	got := b.planned()
	if len(got) != 1 || got[0].(metadata.JournalAssigned).Node != nodeNo(2) || got[0].(metadata.JournalAssigned).Moves != 2 {
		t.Fatalf("planned %v", got)
	}
	b.pass(handOverLimit)
	got = b.planned()
	if len(got) != 1 || got[0].(metadata.JournalAssigned).Why != metadata.WhyWithdrawn || got[0].(metadata.JournalAssigned).Moves != 3 {
		t.Errorf("a hand-over that is not done: %v", got)
	}
}

func TestRegistrationsAreAnsweredByHandshakes(t *testing.T) {
	for name, c := range map[string]struct {
		node    byte
		before  Outcome
		address []Outcome
		want    error
	}{
		"new node":             {9, 0, []Outcome{Proved}, nil},
		"wrong address":        {9, 0, []Outcome{Refused}, ErrWrongAddress},
		"address of another":   {9, 0, []Outcome{Replaced}, ErrWrongAddress},
		"slow at first":        {9, 0, []Outcome{TimedOut, Proved}, nil},
		"no answer":            {9, 0, []Outcome{TimedOut, TimedOut}, ErrWrongAddress},
		"next start":           {2, Replaced, []Outcome{Proved}, nil},
		"next start elsewhere": {2, TimedOut, []Outcome{Proved}, nil},
		"copy":                 {2, Proved, nil, ErrInUse},
	} {
		b := newBench(t, clusterOf(3, 1, 2, 3))
		b.out = nil
		run := runOf(c.node)
		run.Start = segment.ID{0x77}
		answer := func(o Outcome, ev Event) {
			for _, a := range b.j.Step(b.now, ev) {
				b.out = append(b.out, a)
			}
		}
		answer(0, Joining{7, nodeNo(c.node), run})
		if c.before != 0 {
			answer(0, Dialed{b.lastDial(c.node), c.before})
		}
		for _, o := range c.address {
			answer(0, Dialed{b.lastDial(c.node), o})
		}
		join, ok := b.out[len(b.out)-1].(Join)
		if !ok || join.Token != 7 || !errors.Is(join.Err, c.want) || c.want == nil && join.Err != nil {
			t.Errorf("%s: %v", name, b.out[len(b.out)-1])
		}
	}
}

func TestNothingIsPlannedBelowTheLevel(t *testing.T) {
	c := clusterOf(2, 1, 2)
	c.Level = metadata.LevelTiering
	c.Assignments[0].Number = 0
	b := newBench(t, c)
	b.down[2] = true
	b.pass(time.Minute)
	if len(b.out) > 0 {
		t.Errorf("asked for %v", b.out)
	}
}
