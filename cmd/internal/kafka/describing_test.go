package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTheBucketIsTheOnlyLogDir(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "a", 2, nil)
	c.addTopic(t, "b", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	cl.ask(sample(0, 9, topic))
	ask := func(topics []kmsg.DescribeLogDirsRequestTopic) kmsg.DescribeLogDirsResponseDir {
		t.Helper()
		dirs := cl.ask(&kmsg.DescribeLogDirsRequest{Version: 4, Topics: topics}).(*kmsg.DescribeLogDirsResponse).Dirs
		if len(dirs) != 1 || dirs[0].Dir != "memory://" || dirs[0].ErrorCode != 0 || dirs[0].TotalBytes != -1 || dirs[0].UsableBytes != -1 {
			t.Fatalf("directories %+v", dirs)
		}
		return dirs[0]
	}
	all := ask(nil)
	if len(all.Topics) != 2 || len(all.Topics[0].Partitions) != 2 {
		t.Fatalf("all: %+v", all.Topics)
	}
	if p := all.Topics[0].Partitions; p[0].Size == 0 || p[1].Size != 0 || p[1].Partition != 1 || p[0].OffsetLag != 0 || p[0].IsFuture {
		t.Errorf("sizes %+v", p)
	}
	if none := ask([]kmsg.DescribeLogDirsRequestTopic{}); len(none.Topics) != 0 {
		t.Errorf("an empty list: %+v", none.Topics)
	}
	some := ask([]kmsg.DescribeLogDirsRequestTopic{{Topic: "none", Partitions: []int32{0}}, {Topic: "a", Partitions: []int32{1, 9, -1, 1}}, {Topic: "a", Partitions: []int32{0}}})
	if len(some.Topics) != 1 || len(some.Topics[0].Partitions) != 1 || some.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("some: %+v", some.Topics)
	}
}

func TestNoElectionIsNeeded(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "a", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.ElectLeadersRequest{Version: 2, Topics: []kmsg.ElectLeadersRequestTopic{{Topic: "a", Partitions: []int32{0, 1}}, {Topic: "b", Partitions: []int32{0}}}}
	resp := cl.ask(req).(*kmsg.ElectLeadersResponse)
	var codes []int16
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	if want := []int16{kerr.ElectionNotNeeded.Code, kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicOrPartition.Code}; resp.ErrorCode != 0 || !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	if resp := cl.ask(&kmsg.ElectLeadersRequest{Version: 2}).(*kmsg.ElectLeadersResponse); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("all partitions: %+v", resp)
	}
	if resp := cl.ask(&kmsg.ElectLeadersRequest{Version: 2, ElectionType: 2}).(*kmsg.ElectLeadersResponse); resp.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("unknown election: %+v", resp)
	}
}

func TestThereAreNoReassignmentsAndNoACLs(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	if resp := cl.ask(&kmsg.ListPartitionReassignmentsRequest{}).(*kmsg.ListPartitionReassignmentsResponse); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("reassignments: %+v", resp)
	}
	if resp := cl.ask(sample(29, 3, nil)).(*kmsg.DescribeACLsResponse); resp.ErrorCode != kerr.SecurityDisabled.Code || resp.ErrorMessage == nil || len(resp.Resources) != 0 {
		t.Errorf("ACLs: %+v", resp)
	}
}

func TestConfigResourcesAreListed(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "a", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	list := func(version int16, kinds ...int8) (names []string, code int16) {
		resp := cl.ask(&kmsg.ListConfigResourcesRequest{Version: version, ResourceTypes: kinds}).(*kmsg.ListConfigResourcesResponse)
		for _, r := range resp.ConfigResources {
			names = append(names, kmsg.ConfigResourceType(r.Type).String()+" "+r.Name)
		}
		return names, resp.ErrorCode
	}
	for _, tc := range []struct {
		version int16
		kinds   []int8
		want    []string
		code    int16
	}{
		{0, nil, nil, 0}, // client metrics only
		{1, nil, []string{"TOPIC a", "BROKER 7", "BROKER 8", "BROKER 12"}, 0},
		{1, []int8{4, 4}, []string{"BROKER 7", "BROKER 8", "BROKER 12"}, 0},
		{1, []int8{16, 32, 8}, nil, 0},
		{1, []int8{2, 99}, nil, kerr.UnsupportedVersion.Code},
	} {
		if got, code := list(tc.version, tc.kinds...); !slices.Equal(got, tc.want) || code != tc.code {
			t.Errorf("v%d of %v: %v, code %d, want %v, code %d", tc.version, tc.kinds, got, code, tc.want, tc.code)
		}
	}
}

func TestTopicPartitionsAreDescribedInPieces(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "b", 3, nil)
	c.addTopic(t, "a", 2, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 2, Topics: []kmsg.DescribeTopicPartitionsRequestTopic{
		{Topic: "b"}, {Topic: "a"}, {Topic: "a"}, {Topic: "ab"}, {Topic: "no/slash"},
	}}
	type piece struct {
		topic      string
		partitions int
		code       int16
	}
	var got [][]piece
	for range 10 {
		resp := cl.ask(req).(*kmsg.DescribeTopicPartitionsResponse)
		var pieces []piece
		for _, topic := range resp.Topics {
			pieces = append(pieces, piece{*topic.Topic, len(topic.Partitions), topic.ErrorCode})
			if made, ok := c.Topic(*topic.Topic); ok && topic.TopicID != made.ID {
				t.Errorf("topic %+v", topic)
			}
			for _, p := range topic.Partitions {
				if p.LeaderID != testNode || p.LeaderEpoch != 3 || !slices.Equal(p.Replicas, []int32{testNode}) || p.ErrorCode != 0 {
					t.Errorf("partition %+v", p)
				}
				if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
					t.Errorf("null where the Java client cannot bear it: %+v", p)
				}
			}
		}
		got = append(got, pieces)
		if resp.NextCursor == nil {
			break
		}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
	}
	want := [][]piece{
		{{"a", 2, 0}}, {{"ab", 0, kerr.UnknownTopicOrPartition.Code}, {"b", 2, 0}}, {{"b", 1, 0}, {"no/slash", 0, kerr.InvalidTopicException.Code}},
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]piece]) {
		t.Errorf("pieces %v, want %v", got, want)
	}
	everything := cl.ask(&kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 2000}).(*kmsg.DescribeTopicPartitionsResponse)
	if len(everything.Topics) != 2 || *everything.Topics[0].Topic != "a" || everything.NextCursor != nil {
		t.Errorf("all topics: %+v", everything)
	}
	req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "b", Partition: -1}
	cl.send(req)
	cl.ExpectClosed()
}
