package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener/listenertest"
	"github.com/varvelog/varve/fetch"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// sample is a request of every key for topic t, as a client would send it.
func sample(key, version int16, t *metadata.Topic) kmsg.Request {
	req := requestFor(key)
	req.SetVersion(version)
	sampleAccess(req)
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		req.Acks, req.TimeoutMillis = -1, 1000
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: 0, Records: batchtest.Build(batchtest.Spec{Records: batchtest.Values(1_600_000_000_000, "a", "b")})},
		}}}
	case *kmsg.FetchRequest:
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 1, 1<<20
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = 1 << 20
		req.Topics = []kmsg.FetchRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	case *kmsg.ListOffsetsRequest:
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = fetch.Latest
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: t.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	case *kmsg.MetadataRequest:
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: &t.Name}}
	case *kmsg.ApiVersionsRequest:
		req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1.0"
	case *kmsg.CreateTopicsRequest:
		n := kmsg.NewCreateTopicsRequestTopic()
		n.Topic, n.NumPartitions, n.ReplicationFactor = fmt.Sprintf("made-by-v%d", version), 2, 3
		n.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("-1")}}
		req.Topics, req.TimeoutMillis = []kmsg.CreateTopicsRequestTopic{n}, 1000
	case *kmsg.DeleteTopicsRequest:
		name := "no-such-topic"
		req.TopicNames = []string{name}
		req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
	case *kmsg.OffsetForLeaderEpochRequest:
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: t.Name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	case *kmsg.DescribeConfigsRequest:
		req.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: t.Name},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "7"},
		}
		req.IncludeSynonyms, req.IncludeDocumentation = true, true
	case *kmsg.OffsetCommitRequest:
		req.Group, req.Generation = "simple", -1
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset, p.Metadata = 7, kmsg.StringPtr("m")
		req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	case *kmsg.OffsetFetchRequest:
		req.Group, req.Topics = "simple", []kmsg.OffsetFetchRequestTopic{{Topic: t.Name, Partitions: []int32{0, 1}}}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.Topics = "simple", []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []int32{0, 1}}}
		req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	case *kmsg.JoinGroupRequest:
		req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = fmt.Sprintf("joined-v%d", version), 10_000, 10_000, "consumer"
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0}}}
	case *kmsg.SyncGroupRequest:
		req.Group, req.MemberID = "simple", "m"
	case *kmsg.HeartbeatRequest:
		req.Group, req.MemberID = "simple", "m"
	case *kmsg.LeaveGroupRequest:
		req.Group, req.MemberID = "simple", "m"
		req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}
	case *kmsg.DescribeGroupsRequest:
		req.Groups, req.IncludeAuthorizedOperations = []string{"simple", "none"}, true
	case *kmsg.DeleteGroupsRequest:
		req.Groups = []string{"none"}
	case *kmsg.OffsetDeleteRequest:
		req.Group = "simple"
		req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: t.Name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	case *kmsg.FindCoordinatorRequest:
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g"}
	case *kmsg.DeleteRecordsRequest:
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: t.Name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 0}}}}
	case *kmsg.AlterConfigsRequest:
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: t.Name,
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("-1")}}}}
	case *kmsg.IncrementalAlterConfigsRequest:
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: t.Name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Op: kmsg.IncrementalAlterConfigOpDelete}}}}
	case *kmsg.DescribeLogDirsRequest: // null in the other versions
		if version%2 == 0 {
			req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: t.Name, Partitions: []int32{0}}}
		}
	case *kmsg.CreatePartitionsRequest:
		req.ValidateOnly, req.TimeoutMillis = true, 1000
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: t.Name, Count: 3}}
	case *kmsg.ElectLeadersRequest:
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: t.Name, Partitions: []int32{0}}}
	case *kmsg.ListConfigResourcesRequest:
		req.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeTopic), int8(kmsg.ConfigResourceTypeBroker)}
	case *kmsg.DescribeTopicPartitionsRequest:
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: t.Name}}
		req.ResponsePartitionLimit, req.Cursor = 1, &kmsg.DescribeTopicPartitionsRequestCursor{Topic: t.Name}
	case *kmsg.UpdateFeaturesRequest:
		req.TimeoutMillis, req.FeatureUpdates = 1000, []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: LevelFeature, MaxVersionLevel: 1, UpgradeType: min(int8(version), onlyUpgrade)}}
	case *kmsg.DescribeClusterRequest:
		req.EndpointType = brokerEndpoints
	}
	return req
}

// sampleAccess fills in requests about users and ACLs.
func sampleAccess(req kmsg.Request) {
	switch req := req.(type) {
	case *kmsg.DescribeACLsRequest:
		req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
	case *kmsg.CreateACLsRequest:
		req.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: 2, ResourcePatternType: 3, ResourceName: "a", Principal: "User:a", Host: "*", Operation: 3, PermissionType: 3}}
	case *kmsg.DeleteACLsRequest:
		req.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1}}
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		req.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "nobody", Mechanism: 1}}
	case *kmsg.DescribeUserSCRAMCredentialsRequest:
		req.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "nobody"}}
	}
}

func TestEveryAdvertisedVersionIsAnsweredInItsFormat(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	r := start(t, c, Config{}, c.backend())
	cl := r.dial(t)
	versions := cl.ask(sample(18, 0, topic)).(*kmsg.ApiVersionsResponse)
	if len(versions.ApiKeys) != 40 {
		t.Errorf("%d keys advertised, want 40", len(versions.ApiKeys))
	}
	for _, k := range versions.ApiKeys {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			if endsWithout[kmsg.Key(k.ApiKey)] {
				r.dial(t).ask(sample(k.ApiKey, v, topic))
				continue
			}
			cl.ask(sample(k.ApiKey, v, topic))
		}
	}
}

func TestApiVersionsAboveOursIsAnsweredAsVersion0(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.ApiVersionsRequest{Version: 0}
	frame := listenertest.Encode(req, 9)
	frame[7] = 99 // version
	if _, err := cl.Write(frame); err != nil {
		t.Fatal(err)
	}
	resp := cl.receive(req, 9).(*kmsg.ApiVersionsResponse)
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 4 {
		t.Errorf("answer is %+v", resp)
	}
	cl.ask(sample(18, 4, nil)) // the connection lives on
}

func TestApiVersionsRefusesStrangeSoftwareNames(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for name, want := range map[string]int16{"librdkafka": 0, "a": 0, "": 42, "-x": 42, "a b": 42, "x\n": 42} {
		req := sample(18, 3, nil).(*kmsg.ApiVersionsRequest)
		req.ClientSoftwareName = name
		if resp := cl.ask(req).(*kmsg.ApiVersionsResponse); resp.ErrorCode != want {
			t.Errorf("software name %q: error %d, want %d", name, resp.ErrorCode, want)
		}
	}
}

func TestProduceMinimumIsAdvertisedForLibrdkafka(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for _, k := range cl.ask(sample(18, 4, topic)).(*kmsg.ApiVersionsResponse).ApiKeys {
		if k.ApiKey == 0 && k.MinVersion != 0 {
			t.Errorf("Produce is advertised from v%d: librdkafka before 2.11.1 would stop compressing", k.MinVersion)
		}
	}
	for v := range int16(3) {
		p := cl.ask(sample(0, v, topic)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != kerr.UnsupportedVersion.Code {
			t.Errorf("Produce v%d is answered with %d", v, p.ErrorCode)
		}
	}
}
