package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata/coordinator"
)

// A node that knows of another leader sends no answer that names itself as a
// leader: the connection ends, and clients look elsewhere.
func TestANodeThatWasDeposedDoesNotNameItself(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "events", 1, nil)
	r := start(t, c, Config{}, c.backend())
	name := "events"
	for what, req := range map[string]kmsg.Request{
		"metadata of all":           &kmsg.MetadataRequest{Version: 9},
		"metadata of one":           &kmsg.MetadataRequest{Version: 9, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}},
		"description of the topics": &kmsg.DescribeTopicPartitionsRequest{Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: name}}},
		"description of brokers":    &kmsg.DescribeClusterRequest{Version: 1, EndpointType: 1},
		"list of groups":            &kmsg.ListGroupsRequest{Version: 4},
	} {
		t.Run(what, func(t *testing.T) {
			cl := r.dial(t)
			c.deposed.Store(false)
			cl.ask(req)
			c.deposed.Store(true)
			cl.send(req)
			cl.ExpectClosed()
		})
	}
}

// Members of a group are sent away by their heartbeats, also if nothing is wrong with
// their membership.
func TestMembersLeaveACoordinatorThatWasDeposed(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	member, generation := g.joined()
	codes := func() string {
		hb := g.cl.ask(g.at(g.heartbeat("g", member, generation, nil))).(*kmsg.HeartbeatResponse)
		d := g.cl.ask(g.at(g.describe("g"))).(*kmsg.DescribeGroupsResponse)
		return fmt.Sprint(hb.ErrorCode, d.Groups[0].ErrorCode, len(d.Groups[0].Members))
	}
	if got := codes(); got != "0 0 1" {
		t.Fatalf("of the coordinator: %s", got)
	}
	c.groups.set(func(g *memGroups) { g.deposed = fmt.Errorf("%w: fenced", coordinator.ErrNotCoordinator) })
	if got, want := codes(), fmt.Sprint(kerr.NotCoordinator.Code, kerr.NotCoordinator.Code, 0); got != want {
		t.Errorf("of one that was deposed: %s, want %s", got, want)
	}
}
