package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
)

// A node that only reads refuses at once, with codes on which no client tries again:
// it lists no other node that a client could go to.
func TestANodeThatOnlyReadsRefusesForGood(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	b := c.backend()
	b.ReadsOnly, b.Admin, b.Appender = func() bool { return true }, metadata.Refused{Err: metadata.ErrReadsOnly}, func(uint32) Appender { return nil }
	cl := start(t, c, Config{}, b).dial(t)
	policy := kerr.PolicyViolation.Code
	answer := cl.ask(sample(kmsg.Produce.Int16(), 9, g.topic)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if answer.ErrorCode != policy || answer.ErrorMessage == nil || !strings.Contains(*answer.ErrorMessage, "only reads") {
		t.Errorf("produce: %+v", answer)
	}
	if id := cl.ask(&kmsg.InitProducerIDRequest{Version: 4, ProducerID: -1, ProducerEpoch: -1}).(*kmsg.InitProducerIDResponse); id.ErrorCode != kerr.ClusterAuthorizationFailed.Code {
		t.Errorf("producer id: code %d", id.ErrorCode)
	}
	deletion := cl.ask(&kmsg.DeleteRecordsRequest{Version: 2, Topics: []kmsg.DeleteRecordsRequestTopic{{
		Topic: "events", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: -1}},
	}}}).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
	if deletion.ErrorCode != policy {
		t.Errorf("delete records: code %d", deletion.ErrorCode)
	}
	topics := cl.ask(&kmsg.CreateTopicsRequest{Version: 7, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "new", NumPartitions: 1, ReplicationFactor: 1}}}).(*kmsg.CreateTopicsResponse)
	if topics.Topics[0].ErrorCode != policy {
		t.Errorf("create topic: code %d", topics.Topics[0].ErrorCode)
	}
}

// Groups are refused by the requests of their members, and not by the look-up of the
// coordinator: a consumer of partitions of its choice makes that too, and only reads.
func TestANodeThatOnlyReadsNamesItselfAndRefusesMembers(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	b := c.backend()
	b.ReadsOnly = func() bool { return true }
	g.cl = start(t, c, Config{}, b).dial(t)
	found := g.cl.ask(&kmsg.FindCoordinatorRequest{Version: 4, CoordinatorKeys: []string{"g"}}).(*kmsg.FindCoordinatorResponse).Coordinators[0]
	if found.ErrorCode != 0 || found.NodeID != testNode {
		t.Errorf("coordinator: %+v", found)
	}
	for api, code := range g.codesByAPI() {
		if code != kerr.PolicyViolation.Code && api != "find" {
			t.Errorf("%s: code %d", api, code)
		}
	}
}
