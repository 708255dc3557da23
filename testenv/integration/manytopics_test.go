package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRequestsMayBeAsLargeAsManyTopicsMakeThem: lists of 5,000 topics with long names,
// each in one request of more than a MiB.
func TestRequestsMayBeAsLargeAsManyTopicsMakeThem(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t, "--group-initial-rebalance-delay=0s")
	c := dial(t, node.Kafka)
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%04d", strings.Repeat("long-name-", 22), i)
	}

	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 60_000
	describe := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range names {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		create.Topics = append(create.Topics, topic)
		describe.Resources = append(describe.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name})
	}
	for _, made := range c.ask(t, create, 7).(*kmsg.CreateTopicsResponse).Topics {
		if made.ErrorCode != 0 {
			t.Fatalf("create %s: %d", made.Topic, made.ErrorCode)
		}
	}
	described := c.ask(t, describe, 4).(*kmsg.DescribeConfigsResponse).Resources
	if len(described) != len(names) || described[4999].ErrorCode != 0 || len(described[4999].Configs) == 0 {
		t.Errorf("%d of %d topics are described", len(described), len(names))
	}
	joinWith(t, c, names)

	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.TopicNames, remove.TimeoutMillis = names, 60_000
	for _, gone := range c.ask(t, remove, 5).(*kmsg.DeleteTopicsResponse).Topics {
		if gone.ErrorCode != 0 {
			t.Fatalf("delete %s: %d", *gone.Topic, gone.ErrorCode)
		}
	}
}

// joinWith joins a group that subscribes to topics, and assigns all of them.
func joinWith(t *testing.T, c connection, topics []string) {
	t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey = "g"
	for c.ask(t, find, 2).(*kmsg.FindCoordinatorResponse).ErrorCode != 0 {
	}
	meta, plan := kmsg.NewConsumerMemberMetadata(), kmsg.NewConsumerMemberAssignment()
	meta.Topics, meta.UserData = topics, make([]byte, 8<<20)
	for _, topic := range topics {
		plan.Topics = append(plan.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic, Partitions: []int32{0}})
	}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 30_000, 30_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: meta.AppendTo(nil)}, {Name: "sticky", Metadata: meta.AppendTo(nil)}}
	joined := c.ask(t, join, 3).(*kmsg.JoinGroupResponse)
	if joined.ErrorCode != 0 || len(joined.Members) != 1 || len(joined.Members[0].ProtocolMetadata) < 1<<20 {
		t.Fatalf("join: %d", joined.ErrorCode)
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.Generation, sync.MemberID = "g", joined.Generation, joined.MemberID
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: plan.AppendTo(nil)}}
	synced := c.ask(t, sync, 3).(*kmsg.SyncGroupResponse)
	if synced.ErrorCode != 0 || len(synced.MemberAssignment) < 1<<20 {
		t.Fatalf("sync: %d, %d bytes", synced.ErrorCode, len(synced.MemberAssignment))
	}
}
