package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func askMetadata(cl *client, version int16, autoCreate bool, topics []kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
	cl.t.Helper()
	return cl.ask(&kmsg.MetadataRequest{Version: version, Topics: topics, AllowAutoTopicCreation: autoCreate}).(*kmsg.MetadataResponse)
}

func TestMetadataOfAllNoneAndSome(t *testing.T) {
	c := newCluster()
	first := c.addTopic(t, "first", 2, nil)
	c.addTopic(t, "second", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	none := []kmsg.MetadataRequestTopic{}
	for version, want := range map[int16]int{0: 2, 1: 0, 13: 0} {
		if resp := askMetadata(cl, version, false, none); len(resp.Topics) != want {
			t.Errorf("v%d of an empty list: %d topics, want %d", version, len(resp.Topics), want)
		}
	}
	resp := askMetadata(cl, 12, false, nil)
	if len(resp.Topics) != 2 || *resp.ClusterID != "varve-test" || resp.ControllerID != testNode || len(resp.Brokers) != 2 || *resp.Brokers[0].Rack != "r1" {
		t.Errorf("v12 of null: %+v", resp)
	}
	p := resp.Topics[0].Partitions[1]
	if p.Partition != 1 || p.Leader != testNode || p.LeaderEpoch != 3 || !slices.Equal(p.Replicas, []int32{testNode}) || !slices.Equal(p.ISR, p.Replicas) {
		t.Errorf("partition is %+v", p)
	}
	byID := askMetadata(cl, 12, false, []kmsg.MetadataRequestTopic{{TopicID: first.ID}, {TopicID: [16]byte{9}}})
	if *byID.Topics[0].Topic != "first" || byID.Topics[0].TopicID != first.ID || byID.Topics[1].ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("by id: %+v", byID.Topics)
	}
	twice := askMetadata(cl, 9, false, slices.Repeat([]kmsg.MetadataRequestTopic{{Topic: &first.Name}}, 1000))
	if len(twice.Topics) != 1 {
		t.Errorf("a topic asked for 1000 times is answered %d times", len(twice.Topics))
	}
}

func TestMetadataCreatesTopicsOnlyIfBothSidesAllow(t *testing.T) {
	for _, tc := range []struct {
		name           string
		version        int16
		server, client bool
		want           bool
	}{
		{"both", 4, true, true, true}, {"old client", 3, true, false, true},
		{"client forbids", 4, true, false, false}, {"server forbids", 4, false, true, false},
	} {
		c := newCluster()
		cl := start(t, c, Config{AutoCreateTopics: tc.server}, c.backend()).dial(t)
		name := "new"
		resp := askMetadata(cl, tc.version, tc.client, []kmsg.MetadataRequestTopic{{Topic: &name}})
		_, made := c.Topic(name)
		wantCode := int16(0)
		if !tc.want {
			wantCode = kerr.UnknownTopicOrPartition.Code
		}
		if made != tc.want || resp.Topics[0].ErrorCode != wantCode || (len(resp.Topics[0].Partitions) == 1) != tc.want {
			t.Errorf("%s: created %v, answer %+v", tc.name, made, resp.Topics[0])
		}
		bad := "no/slashes"
		if resp := askMetadata(cl, tc.version, tc.client, []kmsg.MetadataRequestTopic{{Topic: &bad}}); resp.Topics[0].ErrorCode != kerr.InvalidTopicException.Code {
			t.Errorf("%s: bad name: %+v", tc.name, resp.Topics[0])
		}
	}
}

func TestMetadataWithoutALeaderOrControllerSaysSo(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	c.place.Store(&Placement{Leader: -1, Epoch: -1})
	c.change(func() { c.adminUp = false })
	cl := start(t, c, Config{AutoCreateTopics: true}, c.backend()).dial(t)
	other := "other"
	resp := askMetadata(cl, 9, true, []kmsg.MetadataRequestTopic{{Topic: &topic.Name}, {Topic: &other}})
	if p := resp.Topics[0].Partitions[0]; p.ErrorCode != kerr.LeaderNotAvailable.Code || p.Leader != -1 {
		t.Errorf("partition without a leader: %+v", p)
	}
	if resp.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("topic that cannot be created now: %+v", resp.Topics[1])
	}
}

// TestReplicasAreAsManyAsWereAskedFor: tools compare their number with the one
// in their request, and would change the topic forever.
func TestReplicasAreAsManyAsWereAskedFor(t *testing.T) {
	c := newCluster()
	r := start(t, c, Config{}, c.backend())
	cl := r.dial(t)
	for asked, want := range map[int16][]int32{-1: {7}, 1: {7}, 2: {7, 7}, 3: {7, 7, 7}} {
		name := fmt.Sprintf("with-%d", asked)
		made := cl.ask(&kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 1000, Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest(name, 2, asked)}}).(*kmsg.CreateTopicsResponse)
		if made.Topics[0].ErrorCode != 0 || int(made.Topics[0].ReplicationFactor) != len(want) {
			t.Errorf("asked for %d: %+v", asked, made.Topics[0])
		}
		for version := int16(0); version <= 13; version++ {
			for _, p := range askMetadata(cl, version, false, []kmsg.MetadataRequestTopic{{Topic: &name}}).Topics[0].Partitions {
				if !slices.Equal(p.Replicas, want) || !slices.Equal(p.ISR, want) || len(p.OfflineReplicas) > 0 {
					t.Errorf("asked for %d: metadata v%d has %+v", asked, version, p)
				}
			}
		}
		described := cl.ask(&kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 10, Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: name}}}).(*kmsg.DescribeTopicPartitionsResponse)
		for _, p := range described.Topics[0].Partitions {
			if !slices.Equal(p.Replicas, want) || !slices.Equal(p.ISR, want) {
				t.Errorf("asked for %d: described is %+v", asked, p)
			}
		}
	}
	c.place.Store(&Placement{Leader: 8, Epoch: 4, Replicas: []int32{8, 7}})
	name := "with-3"
	if p := askMetadata(cl, 12, false, []kmsg.MetadataRequestTopic{{Topic: &name}}).Topics[0].Partitions[0]; !slices.Equal(p.Replicas, []int32{8, 7, 8}) {
		t.Errorf("with a fetch node: %+v", p)
	}
	c.place.Store(&Placement{Leader: -1, Epoch: -1})
	if p := askMetadata(cl, 12, false, []kmsg.MetadataRequestTopic{{Topic: &name}}).Topics[0].Partitions[0]; len(p.Replicas) > 0 || p.ErrorCode != kerr.LeaderNotAvailable.Code {
		t.Errorf("without a leader: %+v", p)
	}
}

func newTopicRequest(name string, partitions int32, rf int16) kmsg.CreateTopicsRequestTopic {
	n := kmsg.NewCreateTopicsRequestTopic()
	n.Topic, n.NumPartitions, n.ReplicationFactor = name, partitions, rf
	return n
}

func TestCreateTopicsChecksAndAnswers(t *testing.T) {
	withConfig := func(name, key string, value *string) kmsg.CreateTopicsRequestTopic {
		n := newTopicRequest(name, 1, 1)
		n.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: key, Value: value}}
		return n
	}
	assigned := func(name string, partitions int32, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
		n := newTopicRequest(name, partitions, int16(partitions))
		for i, r := range replicas {
			n.ReplicaAssignment = append(n.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: r})
		}
		return n
	}
	gap := assigned("gap", -1, []int32{7}, []int32{7})
	gap.ReplicaAssignment[1].Partition = 2
	cases := []struct {
		version int16
		topic   kmsg.CreateTopicsRequestTopic
		want    *kerr.Error
	}{
		{7, newTopicRequest("plain", 3, 3), nil},
		{7, newTopicRequest("defaults", -1, -1), nil},
		{3, newTopicRequest("old-defaults", -1, -1), nil},
		{7, newTopicRequest("old", 1, 1), kerr.TopicAlreadyExists},
		{7, newTopicRequest("bad name", 1, 1), kerr.InvalidTopicException},
		{7, withConfig("config", "retention.ms", kmsg.StringPtr("1000")), nil},
		{7, withConfig("bad-value", "retention.ms", kmsg.StringPtr("soon")), kerr.InvalidConfig},
		{7, withConfig("bad-config", "retention.sm", kmsg.StringPtr("1")), kerr.InvalidConfig},
		{7, withConfig("null-config", "retention.ms", nil), kerr.InvalidConfig},
		{7, assigned("assigned", -1, []int32{7, 8}, []int32{8, 7}), nil},
		{7, assigned("both", 2, []int32{7}, []int32{8}), kerr.InvalidRequest},
		{7, assigned("uneven", -1, []int32{7}, []int32{8, 7}), kerr.InvalidReplicaAssignment},
		{7, assigned("empty", -1, nil), kerr.InvalidReplicaAssignment},
		{7, assigned("empty-later", -1, []int32{7}, nil), kerr.InvalidReplicaAssignment},
		{7, assigned("unknown", -1, []int32{9}), kerr.InvalidReplicaAssignment},
		{7, assigned("unknown-later", -1, []int32{7}, []int32{1000}), kerr.InvalidReplicaAssignment},
		{7, assigned("negative", -1, []int32{-1}), kerr.InvalidReplicaAssignment},
		{7, assigned("repeated", -1, []int32{7, 7}), kerr.InvalidReplicaAssignment},
		{2, assigned("repeated-old", -1, []int32{7, 7}), kerr.InvalidReplicaAssignment},
		{7, gap, kerr.InvalidReplicaAssignment},
	}
	c := newCluster()
	c.addTopic(t, "old", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	for _, tc := range cases {
		req := &kmsg.CreateTopicsRequest{Version: tc.version, Topics: []kmsg.CreateTopicsRequestTopic{tc.topic}, TimeoutMillis: 1000}
		out := cl.ask(req).(*kmsg.CreateTopicsResponse).Topics[0]
		made, exists := c.Topic(tc.topic.Topic)
		if tc.want != nil {
			if out.ErrorCode != tc.want.Code || out.ErrorMessage == nil || *out.ErrorMessage == "" || exists && made.Name != "old" {
				t.Errorf("%s: error %d (%v), want %d; exists: %v", tc.topic.Topic, out.ErrorCode, out.ErrorMessage, tc.want.Code, exists)
			}
			continue
		}
		if out.ErrorCode != 0 || !exists {
			t.Errorf("%s: error %d, exists: %v", tc.topic.Topic, out.ErrorCode, exists)
			continue
		}
		if tc.version < createTopicsDetails {
			continue
		}
		if out.TopicID != made.ID || int(out.NumPartitions) != len(made.Partitions) || out.ReplicationFactor != made.ReplicationFactor || len(out.Configs) == 0 {
			t.Errorf("%s: %+v", tc.topic.Topic, out)
		}
	}
	if made, _ := c.Topic("assigned"); len(made.Partitions) != 2 || made.ReplicationFactor != 2 {
		t.Errorf("assigned topic is %+v", made)
	}
}

func TestCreateTopicsTwiceInOneRequestIsInvalid(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 1000, Topics: []kmsg.CreateTopicsRequestTopic{
		newTopicRequest("twice", 1, 1), newTopicRequest("once", 1, 1), newTopicRequest("twice", 1, 1),
	}}
	var codes []int16
	for _, out := range cl.ask(req).(*kmsg.CreateTopicsResponse).Topics {
		codes = append(codes, out.ErrorCode)
	}
	if want := []int16{42, 0, 42}; !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
}

func TestCreateTopicsCanOnlyValidate(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.CreateTopicsRequest{Version: 7, ValidateOnly: true, Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest("dry", 2, 1)}}
	out := cl.ask(req).(*kmsg.CreateTopicsResponse).Topics[0]
	if _, exists := c.Topic("dry"); exists || out.ErrorCode != 0 || out.NumPartitions != 2 || out.TopicID != [16]byte{} {
		t.Errorf("exists: %v, answer %+v", exists, out)
	}
}

func TestCreateTopicsAwayFromTheControllerSaysSo(t *testing.T) {
	c := newCluster()
	c.change(func() { c.adminUp = false })
	cl := start(t, c, Config{}, c.backend()).dial(t)
	if out := cl.ask(sample(19, 7, nil)).(*kmsg.CreateTopicsResponse).Topics[0]; out.ErrorCode != kerr.NotController.Code {
		t.Errorf("error %d", out.ErrorCode)
	}
}

func TestDeleteTopicsByNameAndID(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "first", 1, nil)
	second := c.addTopic(t, "second", 1, nil)
	c.addTopic(t, "third", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	old := cl.ask(&kmsg.DeleteTopicsRequest{Version: 1, TopicNames: []string{"first", "none"}, TimeoutMillis: 1000}).(*kmsg.DeleteTopicsResponse)
	if old.Topics[0].ErrorCode != 0 || old.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code || *old.Topics[1].Topic != "none" {
		t.Errorf("v1: %+v", old.Topics)
	}
	third, both := "third", "second"
	resp := cl.ask(&kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 1000, Topics: []kmsg.DeleteTopicsRequestTopic{
		{TopicID: second.ID}, {Topic: &third}, {TopicID: [16]byte{9}}, {Topic: &both, TopicID: second.ID}, {TopicID: second.ID},
	}}).(*kmsg.DeleteTopicsResponse)
	var codes []int16
	for _, out := range resp.Topics {
		codes = append(codes, out.ErrorCode)
	}
	if want := []int16{0, 0, 100, 42, 42}; !slices.Equal(codes, want) || *resp.Topics[0].Topic != "second" {
		t.Errorf("codes %v, want %v: %+v", codes, want, resp.Topics)
	}
	if left := c.Topics(); len(left) != 0 {
		t.Errorf("%d topics are left", len(left))
	}
}

func TestDescribeConfigsOfTopicsAndBrokers(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "events", 1, map[string]string{"cleanup.policy": "compact"})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	topic := kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "events"}
	broker := kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "7"}
	ask := func(resources ...kmsg.DescribeConfigsRequestResource) []kmsg.DescribeConfigsResponseResource {
		req := &kmsg.DescribeConfigsRequest{Version: 4, Resources: resources, IncludeSynonyms: true, IncludeDocumentation: true}
		return cl.ask(req).(*kmsg.DescribeConfigsResponse).Resources
	}
	got := ask(topic, broker, topic)
	if len(got) != 2 {
		t.Fatalf("%d resources answered, want 2", len(got))
	}
	find := func(r kmsg.DescribeConfigsResponseResource, name string) kmsg.DescribeConfigsResponseResourceConfig {
		for _, c := range r.Configs {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("%s has no %s", r.ResourceName, name)
		panic("unreachable")
	}
	if c := find(got[0], "cleanup.policy"); *c.Value != "compact" || c.Source != kmsg.ConfigSourceDynamicTopicConfig || c.ConfigType != kmsg.ConfigTypeList || len(c.ConfigSynonyms) != 2 || c.Documentation == nil {
		t.Errorf("set config is %+v", c)
	}
	if c := find(got[0], "retention.ms"); *c.Value != "-1" || c.Source != kmsg.ConfigSourceDefaultConfig || c.ConfigType != kmsg.ConfigTypeLong {
		t.Errorf("default config is %+v", c)
	}
	for _, name := range strings.Fields("message.max.bytes auto.create.topics.enable num.partitions default.replication.factor log.retention.ms min.insync.replicas offsets.retention.minutes") {
		if c := find(got[1], name); !c.ReadOnly || c.Value == nil {
			t.Errorf("broker config is %+v", c)
		}
	}
	topic.ConfigNames = []string{"retention.ms", "none.such"}
	if got := ask(topic)[0].Configs; len(got) != 1 || got[0].Name != "retention.ms" {
		t.Errorf("configs by name are %+v", got)
	}
	topic.ConfigNames = []string{} // as null: Kafka gives all
	if n := len(ask(topic)[0].Configs); n != len(got[0].Configs) {
		t.Errorf("an empty list of names gives %d configs, want all %d", n, len(got[0].Configs))
	}
	for _, tc := range []struct {
		kind kmsg.ConfigResourceType
		name string
		want *kerr.Error
	}{
		{kmsg.ConfigResourceTypeTopic, "none", kerr.UnknownTopicOrPartition},
		{kmsg.ConfigResourceTypeTopic, "no/slash", kerr.InvalidTopicException},
		{kmsg.ConfigResourceTypeBroker, "8", kerr.InvalidRequest},
		{kmsg.ConfigResourceTypeBroker, "seven", kerr.InvalidRequest},
		{kmsg.ConfigResourceTypeBrokerLogger, "7", kerr.InvalidRequest},
		{kmsg.ConfigResourceType(99), "", kerr.InvalidRequest},
	} {
		out := ask(kmsg.DescribeConfigsRequestResource{ResourceType: tc.kind, ResourceName: tc.name})[0]
		if out.ErrorCode != tc.want.Code || out.ErrorMessage == nil || len(out.Configs) != 0 {
			t.Errorf("%s %q: %+v", tc.kind, tc.name, out)
		}
	}
}

func TestDescribeClusterListsBrokers(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.DescribeClusterRequest{Version: 2, EndpointType: 1}
	resp := cl.ask(req).(*kmsg.DescribeClusterResponse)
	if resp.ErrorCode != 0 || resp.ClusterID != "varve-test" || resp.ControllerID != testNode || len(resp.Brokers) != 2 {
		t.Errorf("answer is %+v", resp)
	}
	c.fenced = true
	if resp := cl.ask(req).(*kmsg.DescribeClusterResponse); len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != testNode {
		t.Errorf("with a fenced broker: %+v", resp.Brokers)
	}
	if resp := cl.ask(&kmsg.MetadataRequest{Version: 9}).(*kmsg.MetadataResponse); len(resp.Brokers) != 1 {
		t.Errorf("metadata with a fenced broker: %+v", resp.Brokers)
	}
	req.IncludeFencedBrokers = true
	if resp := cl.ask(req).(*kmsg.DescribeClusterResponse); len(resp.Brokers) != 2 || resp.Brokers[0].IsFenced || !resp.Brokers[1].IsFenced {
		t.Errorf("fenced brokers: %+v", resp.Brokers)
	}
	req.EndpointType = 2
	if resp := cl.ask(req).(*kmsg.DescribeClusterResponse); resp.ErrorCode != kerr.UnsupportedEndpointType.Code {
		t.Errorf("controllers: %+v", resp)
	}
}

func TestFindCoordinatorNamesThisNodeForGroupsAndRefusesTransactions(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	refused := kerr.TransactionalIDAuthorizationFailed.Code
	for version := int16(0); version <= 5; version++ {
		req := &kmsg.FindCoordinatorRequest{Version: version, CoordinatorKey: "g", CoordinatorKeys: []string{"g", "h"}}
		resp := cl.ask(req).(*kmsg.FindCoordinatorResponse)
		if version < 4 && (resp.ErrorCode != 0 || resp.NodeID != testNode || resp.Host == "") {
			t.Errorf("v%d: group: %+v", version, resp)
		}
		if version >= 4 && (len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "h" || resp.Coordinators[1].NodeID != testNode) {
			t.Errorf("v%d: group: %+v", version, resp)
		}
		if version == 0 {
			continue // knows groups only
		}
		req.CoordinatorType = 1
		resp = cl.ask(req).(*kmsg.FindCoordinatorResponse)
		if version < 4 && resp.ErrorCode != refused || version >= 4 && resp.Coordinators[0].ErrorCode != refused {
			t.Errorf("v%d: transaction: %+v", version, resp)
		}
	}
}

func TestMetadataByIDIgnoresAnEmptyNameWithIt(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "events", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	empty := ""
	req := &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{TopicID: topic.ID, Topic: &empty}}}
	resp := cl.ask(req).(*kmsg.MetadataResponse)
	if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != 0 || *resp.Topics[0].Topic != "events" {
		t.Errorf("answer is %+v", resp.Topics)
	}
}

func TestCreateTopicsOfTooManyIsRefusedAsAWhole(t *testing.T) {
	c := newCluster()
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	for i := range maxTopicsAtOnce + 1 {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("t-%d", i), 1, 1
		req.Topics = append(req.Topics, topic)
	}
	for _, got := range cl.ask(req).(*kmsg.CreateTopicsResponse).Topics {
		if got.ErrorCode != kerr.PolicyViolation.Code {
			t.Fatalf("%s: code %d", got.Topic, got.ErrorCode)
		}
	}
	if made := c.Topics(); len(made) > 0 {
		t.Errorf("%d topics were made", len(made))
	}
}
