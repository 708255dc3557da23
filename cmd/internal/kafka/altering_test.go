package kafka

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestManyConfigsAreReadInTime names more than a request has room for: who compared
// each with each would take minutes.
func TestManyConfigsAreReadInTime(t *testing.T) {
	var a alteration
	const n = 200_000
	for i := range n {
		a.add(metadata.OpDelete, strconv.Itoa(n+i), nil)
	}
	if a.bad != nil || len(a.ops) != n {
		t.Errorf("%d configs, error %v", len(a.ops), a.bad)
	}
	if a.add(metadata.OpDelete, strconv.Itoa(n), nil); a.bad == nil {
		t.Error("one of them is given twice")
	}
}

func TestCreatePartitionsChecksAndAnswers(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "a", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	assigned := func(topic string, count int32, replicas ...[]int32) kmsg.CreatePartitionsRequestTopic {
		in := kmsg.CreatePartitionsRequestTopic{Topic: topic, Count: count, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{}}
		for _, r := range replicas {
			in.Assignment = append(in.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: r})
		}
		return in
	}
	for name, tc := range map[string]struct {
		topics []kmsg.CreatePartitionsRequestTopic
		want   []*kerr.Error
	}{
		"more":           {[]kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 2}}, []*kerr.Error{nil}},
		"as many":        {[]kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 1}}, []*kerr.Error{kerr.InvalidPartitions}},
		"unknown":        {[]kmsg.CreatePartitionsRequestTopic{{Topic: "b", Count: 2}, {Topic: "a", Count: 2}}, []*kerr.Error{kerr.UnknownTopicOrPartition, nil}},
		"twice":          {[]kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 2}, {Topic: "a", Count: 3}}, []*kerr.Error{kerr.InvalidRequest, kerr.InvalidRequest}},
		"assigned":       {[]kmsg.CreatePartitionsRequestTopic{assigned("a", 2, []int32{7})}, []*kerr.Error{nil}},
		"assigned none":  {[]kmsg.CreatePartitionsRequestTopic{assigned("a", 2)}, []*kerr.Error{kerr.InvalidReplicaAssignment}},
		"same broker":    {[]kmsg.CreatePartitionsRequestTopic{assigned("a", 2, []int32{7, 7})}, []*kerr.Error{kerr.InvalidReplicaAssignment}},
		"no broker":      {[]kmsg.CreatePartitionsRequestTopic{assigned("a", 2, nil)}, []*kerr.Error{kerr.InvalidReplicaAssignment}},
		"negative":       {[]kmsg.CreatePartitionsRequestTopic{assigned("a", 2, []int32{-1})}, []*kerr.Error{kerr.InvalidReplicaAssignment}},
		"no such broker": {[]kmsg.CreatePartitionsRequestTopic{assigned("a", 3, []int32{7}, []int32{9})}, []*kerr.Error{kerr.InvalidReplicaAssignment}},
		"nothing at all": {nil, nil},
	} {
		req := &kmsg.CreatePartitionsRequest{Version: 3, Topics: tc.topics, TimeoutMillis: 1000, ValidateOnly: true}
		out := cl.ask(req).(*kmsg.CreatePartitionsResponse).Topics
		for i, want := range tc.want {
			if want == nil && (out[i].ErrorCode != 0 || out[i].ErrorMessage != nil) || want != nil && (out[i].ErrorCode != want.Code || *out[i].ErrorMessage == "") {
				t.Errorf("%s: %+v, want %v", name, out[i], want)
			}
		}
	}
	if topic, _ := c.Topic("a"); len(topic.Partitions) != 1 {
		t.Errorf("validation made %d partitions", len(topic.Partitions))
	}
	cl.ask(&kmsg.CreatePartitionsRequest{Version: 3, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 4}}, TimeoutMillis: 1000})
	if topic, _ := c.Topic("a"); len(topic.Partitions) != 4 {
		t.Errorf("%d partitions, want 4", len(topic.Partitions))
	}
}

// resourceOf is an IncrementalAlterConfigs of one config of one resource.
func resourceOf(kind kmsg.ConfigResourceType, name, config string, op kmsg.IncrementalAlterConfigOp, value *string) kmsg.IncrementalAlterConfigsRequestResource {
	return kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: config, Op: op, Value: value}}}
}

func TestIncrementalAlterConfigsChecksAndAnswers(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "a", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	const topic, broker, set = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.IncrementalAlterConfigOpSet
	five := kmsg.StringPtr("5")
	twice := resourceOf(topic, "a", "retention.ms", set, five)
	twice.Configs = append(twice.Configs, twice.Configs[0])
	for name, tc := range map[string]struct {
		resource kmsg.IncrementalAlterConfigsRequestResource
		want     *kerr.Error
		says     string
	}{
		"set":                {resourceOf(topic, "a", "retention.ms", set, five), nil, ""},
		"unknown config":     {resourceOf(topic, "a", "retention.sm", set, five), kerr.InvalidConfig, "retention.sm"},
		"invalid value":      {resourceOf(topic, "a", "retention.ms", set, kmsg.StringPtr("soon")), kerr.InvalidConfig, "retention.ms"},
		"no value":           {resourceOf(topic, "a", "retention.ms", set, nil), kerr.InvalidRequest, "retention.ms"},
		"delete with none":   {resourceOf(topic, "a", "retention.ms", kmsg.IncrementalAlterConfigOpDelete, nil), nil, ""},
		"unknown operation":  {resourceOf(topic, "a", "retention.ms", 4, five), kerr.InvalidRequest, "operation 4"},
		"negative operation": {resourceOf(topic, "a", "retention.ms", -1, five), kerr.InvalidRequest, "operation -1"},
		"config twice":       {twice, kerr.InvalidRequest, "twice"},
		"unknown topic":      {resourceOf(topic, "b", "retention.ms", set, five), kerr.UnknownTopicOrPartition, "b"},
		"other resource":     {resourceOf(kmsg.ConfigResourceTypeBrokerLogger, "7", "root", set, five), kerr.InvalidRequest, "BROKER_LOGGER"},
		"broker":             {resourceOf(broker, "7", "num.partitions", set, five), kerr.InvalidRequest, "--default-partitions"},
		"topic default":      {resourceOf(broker, "7", "log.retention.ms", set, five), kerr.InvalidRequest, "retention.ms"},
		"all brokers":        {resourceOf(broker, "", "num.partitions", set, five), kerr.InvalidRequest, "--default-partitions"},
		"broker, unknown":    {resourceOf(broker, "7", "num.partition", set, five), kerr.InvalidConfig, "num.partition"},
		"broker, delete":     {resourceOf(broker, "7", "num.partitions", kmsg.IncrementalAlterConfigOpDelete, nil), nil, ""},
		"another broker":     {resourceOf(broker, "8", "num.partitions", set, five), kerr.InvalidRequest, "broker 7"},
		"not a broker":       {resourceOf(broker, "x", "num.partitions", set, five), kerr.InvalidRequest, "broker 7"},
	} {
		req := &kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{tc.resource}}
		out := cl.ask(req).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
		switch {
		case out.ResourceType != tc.resource.ResourceType || out.ResourceName != tc.resource.ResourceName:
			t.Errorf("%s: answer is for %+v", name, out)
		case tc.want == nil && (out.ErrorCode != 0 || out.ErrorMessage != nil):
			t.Errorf("%s: %+v: %s", name, out, *out.ErrorMessage)
		case tc.want != nil && (out.ErrorCode != tc.want.Code || out.ErrorMessage == nil || !strings.Contains(*out.ErrorMessage, tc.says)):
			t.Errorf("%s: %+v, want %v that says %q", name, out, tc.want, tc.says)
		}
	}
	same := resourceOf(topic, "a", "retention.ms", set, five)
	out := cl.ask(&kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{same, same}}).(*kmsg.IncrementalAlterConfigsResponse)
	if out.Resources[0].ErrorCode != kerr.InvalidRequest.Code || out.Resources[1].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("resource twice: %+v", out.Resources)
	}
}

func TestAlterConfigsReplacesAndIncrementalDoesNot(t *testing.T) {
	c := newCluster()
	c.addTopic(t, "a", 1, map[string]string{"segment.ms": "9"})
	cl := start(t, c, Config{}, c.backend()).dial(t)
	req := &kmsg.AlterConfigsRequest{Version: 2, Resources: []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "a",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("7")}}}}}
	if out := cl.ask(req).(*kmsg.AlterConfigsResponse).Resources[0]; out.ErrorCode != 0 {
		t.Fatalf("%+v", out)
	}
	appended := resourceOf(kmsg.ConfigResourceTypeTopic, "a", "cleanup.policy", kmsg.IncrementalAlterConfigOpAppend, kmsg.StringPtr("compact"))
	cl.ask(&kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{appended}})
	want := []metadata.ConfigChange{
		{Topic: "a", Replace: true, Ops: []metadata.ConfigOp{{Kind: metadata.OpSet, Name: "retention.ms", Value: "7"}}},
		{Topic: "a", Ops: []metadata.ConfigOp{{Kind: metadata.OpAppend, Name: "cleanup.policy", Value: "compact"}}},
	}
	c.mu.Lock()
	altered := slices.Clone(c.altered)
	c.mu.Unlock()
	if !slices.EqualFunc(altered, want, func(a, b metadata.ConfigChange) bool {
		return a.Topic == b.Topic && a.Replace == b.Replace && slices.Equal(a.Ops, b.Ops)
	}) {
		t.Errorf("asked for %+v, want %+v", altered, want)
	}
	if topic, _ := c.Topic("a"); topic.Configs["segment.ms"] != "" || topic.Configs["retention.ms"] != "7" {
		t.Errorf("configs %v", topic.Configs)
	}
	req.Resources[0].Configs[0].Value = nil
	if out := cl.ask(req).(*kmsg.AlterConfigsResponse).Resources[0]; out.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("without a value: %+v", out)
	}
}

func TestAlteredConfigsHoldForTheNextProduce(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "a", 1, nil)
	cl := start(t, c, Config{}, c.backend()).dial(t)
	produce := func() kmsg.ProduceResponseTopicPartition {
		return cl.ask(sample(0, 9, topic)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	}
	alter := func(name, value string) {
		t.Helper()
		change := resourceOf(kmsg.ConfigResourceTypeTopic, "a", name, kmsg.IncrementalAlterConfigOpSet, &value)
		if out := cl.ask(&kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{change}}).(*kmsg.IncrementalAlterConfigsResponse); out.Resources[0].ErrorCode != 0 {
			t.Fatalf("%+v", out)
		}
	}
	if p := produce(); p.ErrorCode != 0 || p.LogAppendTime != -1 {
		t.Fatalf("%+v", p)
	}
	alter("message.timestamp.type", "LogAppendTime")
	if p := produce(); p.ErrorCode != 0 || p.LogAppendTime != c.now.UnixMilli() {
		t.Errorf("LogAppendTime: %+v", p)
	}
	alter("message.timestamp.type", "CreateTime")
	alter("message.timestamp.before.max.ms", "1")
	if p := produce(); p.ErrorCode != kerr.InvalidTimestamp.Code {
		t.Errorf("timestamps of long ago: %+v", p)
	}
	alter("max.message.bytes", "20")
	if p := produce(); p.ErrorCode != kerr.MessageTooLarge.Code {
		t.Errorf("a batch that is too large: %+v", p)
	}
}

func TestDeleteRecordsChecksAndAnswers(t *testing.T) {
	c := newCluster()
	topic := c.addTopic(t, "a", 2, nil)
	c.addTopic(t, "compacted", 1, map[string]string{"cleanup.policy": "compact"})
	c.addTopic(t, "both", 1, map[string]string{"cleanup.policy": "compact,delete"})
	c.addTopic(t, "away", 1, nil)
	c.addTopic(t, metadata.ConsumerOffsets, 1, nil)
	c.away[4] = true
	cl := start(t, c, Config{}, c.backend()).dial(t)
	produced := &kmsg.ProduceRequest{Version: 9, Acks: -1, TimeoutMillis: 1000, Topics: []kmsg.ProduceRequestTopic{{Topic: topic.Name, Partitions: []kmsg.ProduceRequestTopicPartition{
		{Records: batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "a", "b", "c")})},
	}}}}
	cl.ask(produced)
	ask := func(topic string, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
		req := &kmsg.DeleteRecordsRequest{Version: 2, TimeoutMillis: 1000, Topics: []kmsg.DeleteRecordsRequestTopic{
			{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}},
		}}
		out := cl.ask(req).(*kmsg.DeleteRecordsResponse).Topics[0]
		if out.Topic != topic || out.Partitions[0].Partition != partition {
			t.Errorf("answer is for %+v", out)
		}
		return out.Partitions[0]
	}
	for _, tc := range []struct {
		topic     string
		partition int32
		offset    int64
		low       int64
		want      *kerr.Error
	}{
		{"a", 0, 1, 1, nil},
		{"a", 0, 4, -1, kerr.OffsetOutOfRange},
		{"a", 0, -2, -1, kerr.OffsetOutOfRange},
		{"a", 0, -1, 3, nil},
		{"a", 0, 2, 3, nil},
		{"a", 1, -1, 0, nil},
		{"a", 2, 0, -1, kerr.UnknownTopicOrPartition},
		{"a", -1, 0, -1, kerr.UnknownTopicOrPartition},
		{"none", 0, 0, -1, kerr.UnknownTopicOrPartition},
		{"compacted", 0, 0, -1, kerr.PolicyViolation},
		{"both", 0, 0, 0, nil},
		{"away", 0, 0, -1, kerr.NotLeaderForPartition},
		{metadata.ConsumerOffsets, 0, 0, -1, kerr.InvalidTopicException},
	} {
		out := ask(tc.topic, tc.partition, tc.offset)
		if wanted := int16(0); tc.want != nil && out.ErrorCode != tc.want.Code || tc.want == nil && out.ErrorCode != wanted || out.LowWatermark != tc.low {
			t.Errorf("%s-%d before %d: %+v, want low watermark %d, %v", tc.topic, tc.partition, tc.offset, out, tc.low, tc.want)
		}
	}
	c.change(func() { c.fails = ingest.ErrUnavailable })
	if out := ask("a", 0, 0); out.ErrorCode != kerr.RequestTimedOut.Code || out.LowWatermark != -1 {
		t.Errorf("without a bucket: %+v", out)
	}
	twice := &kmsg.DeleteRecordsRequest{Version: 2, Topics: []kmsg.DeleteRecordsRequestTopic{{Topic: "away", Partitions: make([]kmsg.DeleteRecordsRequestTopicPartition, 2)}}}
	if out := cl.ask(twice).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions; out[1].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("a partition twice: %+v", out)
	}
}
