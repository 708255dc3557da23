package node

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/cmd/internal/status"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/events"
)

const (
	chronicleEvery = 250 * time.Millisecond // between looks at the cluster
	unheardAfter   = 10 * time.Second       // without an answer of the controller; a trouble
)

// newEvents makes the log of the cluster's changes.
func (n *node) newEvents() *events.Log {
	return events.New(events.Options{
		Self: n.dir.Node(), Now: time.Now, Log: n.log, OnTakeOver: n.metrics.takeOver,
	})
}

// chronicle logs the changes of the cluster, which member.after notes, and keeps the troubles
// about it, until it is stopped.
func (n *node) chronicle() (stop func() error) {
	n.metrics.members(n)
	end := every(chronicleEvery, func() {
		if !n.inCluster() {
			return
		}
		n.judgeMembers(n.meta.Cluster())
		n.events.Write()
	})
	return func() error {
		err := end()
		n.events.Write()
		return err
	}
}

// judgeMembers keeps the board's troubles about the cluster.
func (n *node) judgeMembers(c *metadata.Cluster) {
	self := c.Node(n.dir.Node())
	n.membership("fenced", self != nil && self.Fence != metadata.NotFenced, func() string {
		return fmt.Sprintf("the cluster does not count on this node (%v), and gives it no journals: it is counted on again once the "+
			"controller hears from it and reaches its first --advertise address", self.Fence)
	})
	unheard := time.Duration(0)
	if n.facts != nil && !n.facts.Answered().IsZero() {
		unheard = time.Since(n.facts.Answered())
	}
	n.membership("controller", unheard > unheardAfter, func() string {
		return "the controller does not answer this node: look whether this node reaches the others at their first --advertise addresses"
	})
	leads := n.leaders.Leader(0).Node == n.dir.Node()
	for _, a := range c.Assignments {
		n.membership(subject(a.Journal), leads && a.Why == metadata.WhyParked, func() string {
			return fmt.Sprintf("no node leads it: %d leaders in a row died soon after they took it; it is tried again by itself, "+
				"and the logs of those nodes say why they ended", a.Deaths)
		})
	}
}

// membership raises a trouble about the cluster, or clears it.
func (n *node) membership(about string, is bool, text func() string) {
	if !is {
		n.board.Clear(health.Membership, about)
		return
	}
	n.board.Raise(health.Membership, about, false, text())
}

// onRefused notes why the controller does not register this node; nil: it has.
func (n *node) onRefused(err error) {
	n.membership("registration", err != nil, func() string {
		return fmt.Sprintf("the controller does not register this node, which asks again: %v", err)
	})
}

// clusterEvents is the answer to GET /cluster/events.
func (n *node) clusterEvents(r *http.Request) []status.Event {
	after, err := strconv.ParseUint(r.FormValue(status.AfterParam), 10, 64)
	if err != nil {
		after = 0
	}
	all := []status.Event{}
	for _, e := range n.events.Since(after) {
		all = append(all, eventOf(e))
	}
	return all
}

func eventOf(e events.Event) status.Event {
	s := status.Event{Number: e.Number, At: e.At.UTC(), Kind: string(e.Kind), Why: e.Why}
	if e.Node != 0 {
		s.Node = &e.Node
	}
	switch e.Kind {
	case events.Assigned, events.Led, events.Ended:
		s.Journal = &e.Journal
	case events.Journals:
		s.Journals = e.Journal
	}
	switch e.Kind {
	case events.Led, events.Ended:
		s.Epoch = &e.Epoch
	case events.Level:
		s.Level = e.Epoch
	}
	if e.Took > 0 {
		took := e.Took.Round(time.Millisecond).Seconds()
		s.Took = &took
	}
	return s
}
