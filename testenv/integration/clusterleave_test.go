package integration

import (
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/nodes"
)

// leaveGrace is how long a node that ends may take: it hands over, then flushes.
const leaveGrace = 90 * time.Second

// One node leads everything, and hands it all over when it is drained. Then the other one dies,
// and the first takes it all.
func TestEverythingMovesByADrainAndByADeath(t *testing.T) {
	t.Parallel()
	s := prepareSeveral(t, 2, 0)
	first, second := s.Nodes[0], s.Nodes[1]
	s.start(first)
	s.start(second)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	inOrder := s.produce("events", partitions, acksOne...)
	writing.progress(t, 300)
	inOrder.progress(t, 300)
	before := s.leaderships()
	s.run(second, "node", "drain", s.id(first))
	s.awaitLed(second)
	s.wantHandedOver(before)
	s.run(second, "node", "undrain", s.id(first))
	s.wantWritten(inOrder, "events", second)
	before = s.leaderships()
	s.do(second.Kill())
	s.awaitLed(first)
	writing.progress(t, 300)
	s.wantMore(before, func(uint32) int { return 1 })
	s.wantWritten(writing, "events", first)
}

// An operator drains each node in turn, and then the controller once more. Journals move by
// end entries, so that no client has an error.
func TestADrainedNodeHandsItsJournalsOver(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	inOrder := s.produce("events", partitions, acksOne...)
	for _, n := range s.Writing() {
		writing.progress(t, 300)
		_, others := s.without(n)
		before := s.leaderships()
		s.run(others[0], "node", "drain", s.id(n))
		s.awaitLed(others...)
		writing.progress(t, 300)
		s.wantHandedOver(before)
		s.run(n, "node", "undrain", s.id(n))
		s.awaitShares(s.Writing()...)
	}
	s.wantWritten(inOrder, "events", s.Nodes...)
	s.wantWritten(writing, "events", s.Nodes...)
}

// without returns a node and the other nodes that write.
func (s *several) without(one *nodes.Node) (*nodes.Node, []*nodes.Node) {
	var others []*nodes.Node
	for _, n := range s.Writing() {
		if n != one {
			others = append(others, n)
		}
	}
	return one, others
}

// wantHandedOver wants that each leadership since then followed an end entry, and that there
// is one.
func (s *several) wantHandedOver(before map[uint32][]nodes.Leadership) {
	s.t.Helper()
	moved := 0
	for journal, now := range s.leaderships() {
		since := now[len(before[journal])-1:]
		moved += len(since) - 1
		if nodes.Forced(since) > 0 {
			s.t.Errorf("journal %d was taken by force: %+v", journal, since)
		}
	}
	if moved == 0 {
		s.t.Error("no journal has moved")
	}
}

// The last node that serves cannot be drained, in any order that an operator may type.
func TestTheLastNodeThatServesIsNotDrained(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	first, others := s.without(s.Writing()[0])
	s.run(first, "node", "drain", s.id(first))
	out := s.command(first, "node", "drain", s.id(others[0]))
	if out.Code == 0 {
		t.Error("both nodes are drained")
	}
	wantLine(t, string(out.Stderr), "last")
	s.awaitLed(others...)
	s.run(first, "node", "undrain", s.id(first))
	s.awaitShares(s.Writing()...)
}

// A node is restarted after the other, as for an upgrade. No client has an error, and
// records with acks=1 are in the bucket before their node ends.
func TestARollingRestartLosesNothing(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 3, 1)
	partitions := s.topic("events")
	all, one := s.produce("events", partitions, acksAll...), s.produce("events", partitions, acksOne...)
	for _, n := range s.Nodes {
		all.progress(t, 300)
		one.progress(t, 300)
		before := s.leaderships()
		if err := n.Stop(leaveGrace); err != nil {
			t.Fatalf("%s: %v", n.Name, err)
		}
		if n.Ingest {
			_, others := s.without(n)
			s.awaitLed(others...)
			s.wantHandedOver(before)
		}
		s.start(n)
	}
	s.wantWritten(all, "events", s.Nodes...)
	s.wantWritten(one, "events", s.Nodes...)
}

// A PUT is held, so the leader cannot end its leadership. The journal stays where it is, or
// moves once; records are acknowledged in the end, and none is lost.
func TestAHandOverThatCannotEndIsWithdrawn(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	other, others := s.controller()
	n := others[0]
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	var held uint32
	for journal, leader := range s.leaders() {
		if leader == n {
			held = journal
		}
	}
	before := s.leaderships()
	n.Store.Set(faultproxy.Fault{Kind: faultproxy.Latency, Rate: 1, Delay: 45 * time.Second, Path: "/events/" + journalFolder(held)})
	s.run(other, "node", "drain", s.id(n), "--no-wait")
	awaitFired(t, n, faultproxy.Latency)
	time.Sleep(35 * time.Second) // longer than a hand-over may take
	n.Store.Set()
	s.awaitLed(other)
	writing.progress(t, 300)
	s.wantMore(before, func(journal uint32) int {
		if journal == held {
			return 2
		}
		return 1
	})
	s.run(other, "node", "undrain", s.id(n))
	s.awaitShares(s.Writing()...)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", other)
}

// awaitFired waits until a fault before a node's store has struck.
func awaitFired(t *testing.T, n *nodes.Node, kind faultproxy.Kind) {
	t.Helper()
	before := n.Store.Fired()[kind]
	for end := time.Now().Add(patience); n.Store.Fired()[kind] == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s never strikes", kind)
		}
	}
}
