package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
)

// Every answer that names brokers has their addresses for the listener that the client asked,
// and leaves brokers out that have no such listener.
func TestBrokersAreNamedByTheListenerThatIsAsked(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	c.away[topic.Partitions[0].Journal] = true
	r := start(t, c, Config{}, c.backend())
	self := fmt.Sprintf("7 127.0.0.1:%d", c.port)
	for _, tc := range []struct {
		addr      string
		all       []string
		self      string
		leader    int32 // of the partition
		leaderAt  string
		reachable bool
	}{
		{r.addr, []string{self, "8 elsewhere:1"}, self, 8, "8 elsewhere:1", true},
		{r.inside, []string{"7 inside:7", "12 inside:9"}, "7 inside:7", 12, "12 inside:9", true},
		{r.inside, []string{"7 inside:7", "12 inside:9"}, "7 inside:7", 8, "", false},
	} {
		c.place.Store(&Placement{Leader: tc.leader, Epoch: 4, Replicas: []int32{tc.leader}})
		cl := &client{Client: listenertest.Dial(t, tc.addr), t: t}
		check := func(what string, got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s to %s: %q, want %q", what, tc.addr, got, want)
			}
		}
		var hint []string
		if tc.reachable {
			hint = []string{tc.leaderAt}
		}
		check("metadata", named(askMetadata(cl, 12, false, nil).Brokers, func(b kmsg.MetadataResponseBroker) (int32, string, int32) { return b.NodeID, b.Host, b.Port }), tc.all...)
		described := cl.ask(&kmsg.DescribeClusterRequest{Version: 2, EndpointType: 1}).(*kmsg.DescribeClusterResponse)
		check("description", named(described.Brokers, func(b kmsg.DescribeClusterResponseBroker) (int32, string, int32) { return b.NodeID, b.Host, b.Port }), tc.all...)
		coordinator := cl.ask(&kmsg.FindCoordinatorRequest{Version: 5, CoordinatorKeys: []string{"g"}}).(*kmsg.FindCoordinatorResponse)
		check("coordinator", named(coordinator.Coordinators, func(b kmsg.FindCoordinatorResponseCoordinator) (int32, string, int32) {
			return b.NodeID, b.Host, b.Port
		}), tc.self)
		produced := cl.ask(sample(0, 10, topic)).(*kmsg.ProduceResponse)
		check("produce", named(produced.Brokers, func(b kmsg.ProduceResponseBroker) (int32, string, int32) { return b.NodeID, b.Host, b.Port }), hint...)
	}
}

func named[B any](brokers []B, of func(B) (int32, string, int32)) (names []string) {
	for _, b := range brokers {
		id, host, port := of(b)
		names = append(names, fmt.Sprintf("%d %s:%d", id, host, port))
	}
	return names
}
