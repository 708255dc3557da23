package integration

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/varvelog/varve/testenv/nodes"
)

func TestOneNodeOfAClusterKeepsItsIdentityOverKills(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 1, 0)
	node, partitions := s.Writing()[0], s.topic("events")
	id := s.id(node)
	writing := s.produce("events", partitions, acksAll...)
	for range 2 {
		writing.progress(t, 300)
		before := s.leaderships()
		s.do(node.Kill())
		s.start(node)
		s.awaitLed(node)
		if got := s.id(node); got != id {
			t.Fatalf("the node was broker %s, and is %s", id, got)
		}
		writing.progress(t, 300)
		s.wantMore(before, func(uint32) int { return 1 }) // its own, after the old run is known to be dead
	}
	s.wantWritten(writing, "events", node)
	s.wantOnce("events", node)
}

// Any node may die: the other one takes its journals once, and gives them back.
func TestANodeDiesAndTheOtherTakesItsJournals(t *testing.T) {
	t.Parallel()
	for name, choose := range map[string]func(s *several) (victim, other *nodes.Node){
		"the controller": func(s *several) (victim, other *nodes.Node) {
			victim, others := s.controller()
			return victim, others[0]
		},
		"another node": func(s *several) (victim, other *nodes.Node) {
			other, others := s.controller()
			return others[0], other
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSeveral(t, 2, 0)
			partitions := s.topic("events")
			for _, n := range s.Nodes {
				s.wantBrokers(n, 2)
			}
			victim, other := choose(s)
			writing := s.produce("events", partitions, acksAll...)
			writing.progress(t, 500)
			before, led := s.leaderships(), s.leaders()
			s.do(victim.Kill())
			s.awaitLed(other)
			writing.progress(t, 500)
			s.wantMore(before, func(journal uint32) int {
				if led[journal] == victim {
					return 1
				}
				return 0
			})
			s.wantBrokers(other, 1)
			s.start(victim)
			s.awaitShares(s.Writing()...)
			writing.progress(t, 500)
			s.wantBrokers(other, 2)
			s.wantWritten(writing, "events", victim, other)
			s.wantOnce("events", other)
		})
	}
}

// wantBrokers waits until a node lists so many brokers.
func (s *several) wantBrokers(at *nodes.Node, count int) {
	s.t.Helper()
	c := client(s.t, at.Kafka)
	defer c.Close()
	s.await(fmt.Sprintf("%s lists %d brokers", at.Name, count), func(map[uint32]*nodes.Node) bool {
		brokers, err := kadm.NewClient(c).ListBrokers(deadline(s.t))
		return err == nil && len(brokers) == count
	})
}

func TestAllNodesDieAndTheirRecordsAreThereAgain(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 1)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	for range 2 {
		writing.progress(t, 500)
		for _, n := range s.Nodes {
			s.do(n.Kill())
		}
		s.start(s.Nodes...)
		s.awaitLed(s.Writing()...)
	}
	writing.progress(t, 500)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", s.Writing()[0])
}

// With all machines and disks lost, the bucket alone has everything.
func TestFreshNodesServeAllThatWasAcknowledgedByLostOnes(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 3, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 1000)
	for _, n := range s.Nodes {
		s.do(n.Kill())
		s.do(n.LoseDisk())
	}
	s.start(s.Nodes...) // all at once, each with a new identity
	s.awaitLed(s.Nodes...)
	writing.progress(t, 500)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", s.Nodes[0])
}

// Two of three die at once, the controller and the one that would be the next.
func TestTheLastOfThreeServesEverything(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 3, 0)
	partitions := s.topic("events")
	controller, others := s.controller()
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 500)
	before := s.leaderships()
	s.do(controller.Kill())
	s.do(others[0].Kill())
	s.awaitLed(others[1])
	writing.progress(t, 500)
	s.wantMore(before, func(journal uint32) int { return 1 })
	s.start(controller, others[0])
	s.awaitShares(s.Writing()...)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", others[1])
}
