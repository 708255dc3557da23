package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// TestKfakeAnswersTheSame sends the same requests to a second implementation of
// a broker and compares codes and offsets. Where kfake is known to be more
// lenient than Kafka, or does not have a version, nothing is compared.
func TestKfakeAnswersTheSame(t *testing.T) {
	other, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	c := newCluster()
	c.now = time.Now()
	topic := c.addTopic(t, "events", 1, nil)
	ours := start(t, c, Config{}, c.backend())
	theirs := &running{addr: other.ListenAddrs()[0]}
	name := topic.Name
	all := theirs.dial(t).ask(&kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}}).(*kmsg.MetadataResponse)
	theirTopic := *topic
	theirTopic.ID = segment.ID(all.Topics[0].TopicID)

	for _, q := range oracleQuestions() {
		got := gist(ours.dial(t).ask(q.request(topic)))
		want := gist(theirs.dial(t).ask(q.request(&theirTopic)))
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nkfake:\n%s", q.name, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}

type question struct {
	name    string
	request func(*metadata.Topic) kmsg.Request
}

// oracleQuestions are asked in order: each sees what those before it wrote.
func oracleQuestions() []question {
	missing := map[int16]int16{2: 11, 23: 2}          // versions that kfake does not have
	unlike := []int16{29, 30, 31, 43, 50, 51, 57, 64} // kfake has an authorizer, elects leaders, has other features, and keeps its brokers
	var out []question
	add := func(name string, request func(*metadata.Topic) kmsg.Request) {
		out = append(out, question{name, request})
	}
	for _, k := range advertised() {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			lacks, ok := missing[k.ApiKey]
			if ok && lacks == v || k.ApiKey == 0 && v < produceBatches || slices.Contains(unlike, k.ApiKey) || endsWithout[kmsg.Key(k.ApiKey)] {
				continue
			}
			add(fmt.Sprintf("key %d v%d", k.ApiKey, v), func(t *metadata.Topic) kmsg.Request { return oracleSample(k.ApiKey, v, t) })
		}
	}
	for _, at := range []int64{-1, 0, 1, 5, 1000} {
		add(fmt.Sprintf("fetch at %d", at), func(t *metadata.Topic) kmsg.Request {
			req := sample(1, 12, t).(*kmsg.FetchRequest)
			req.Topics[0].Partitions[0].FetchOffset = at
			return req
		})
	}
	change := func(name string, fn func(*kmsg.ProduceRequest)) {
		add(name, func(t *metadata.Topic) kmsg.Request {
			req := sample(0, 9, t).(*kmsg.ProduceRequest)
			fn(req)
			return req
		})
	}
	change("acks 5", func(r *kmsg.ProduceRequest) { r.Acks = 5 })
	change("unknown topic", func(r *kmsg.ProduceRequest) { r.Topics[0].Topic = "none" })
	change("unknown partition", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Partition = 9 })
	change("control batch", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Records = patched(21, 0, 0x20) })
	change("bad length", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Records = patched(8, 0, 0, 0, 1) })
	out = append(out, adminQuestions()...)
	add("unknown topic id", func(*metadata.Topic) kmsg.Request {
		return &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{TopicID: [16]byte{5}}}}
	})
	return out
}

// adminQuestions are requests that a broker refuses, or answers without a change.
func adminQuestions() []question {
	var out []question
	alter := func(name string, topic string, configs ...kmsg.IncrementalAlterConfigsRequestResourceConfig) {
		out = append(out, question{name, func(*metadata.Topic) kmsg.Request {
			return &kmsg.IncrementalAlterConfigsRequest{Version: 1, ValidateOnly: true, Resources: []kmsg.IncrementalAlterConfigsRequestResource{
				{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic, Configs: configs},
			}}
		}})
	}
	set := func(name string, value *string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Value: value}
	}
	alter("a config that is valid", "events", set("retention.ms", kmsg.StringPtr("5")))
	alter("a config of no topic", "none", set("retention.ms", kmsg.StringPtr("5")))
	partitions := func(name, topic string, count int32, assigned ...[]int32) {
		out = append(out, question{name, func(*metadata.Topic) kmsg.Request {
			in := kmsg.CreatePartitionsRequestTopic{Topic: topic, Count: count}
			for _, replicas := range assigned {
				in.Assignment = append(in.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
			}
			return &kmsg.CreatePartitionsRequest{Version: 3, TimeoutMillis: 1000, ValidateOnly: count > 1, Topics: []kmsg.CreatePartitionsRequestTopic{in}}
		}})
	}
	partitions("fewer partitions", "events", 0)
	partitions("more partitions", "events", 2)
	partitions("partitions of no topic", "none", 2)
	partitions("too many assigned", "events", 2, []int32{0}, []int32{0})
	deletion := func(name, topic string, partition int32, offset int64) {
		out = append(out, question{name, func(*metadata.Topic) kmsg.Request {
			return &kmsg.DeleteRecordsRequest{Version: 2, TimeoutMillis: 1000, Topics: []kmsg.DeleteRecordsRequestTopic{
				{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}},
			}}
		}})
	}
	deletion("records of no topic", "none", 0, 0)
	deletion("records of no partition", "events", 9, 0)
	deletion("records beyond the end", "events", 0, 1000)
	deletion("records before a negative offset", "events", 0, -2)
	deletion("all records", "events", 0, -1)
	return out
}

// oracleSample is sample, for a cluster of one broker with another id.
func oracleSample(key, version int16, t *metadata.Topic) kmsg.Request {
	req := sample(key, version, t)
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		req.Topics[0].ReplicationFactor = 1
	case *kmsg.DescribeConfigsRequest:
		req.Resources = req.Resources[:1]
	}
	return req
}

// gist is the part of an answer on which two brokers must agree: its error
// codes, and its offsets if there is no error.
func gist(resp kmsg.Response) []string {
	var out []string
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			code := v.FieldByName("ErrorCode")
			if code.IsValid() {
				out = append(out, fmt.Sprint("error=", code.Int()))
			}
			for i := range v.NumField() {
				switch name := v.Type().Field(i).Name; name {
				case "BaseOffset", "HighWatermark", "LastStableOffset", "Offset", "EndOffset", "LogAppendTime", "Timestamp", "LowWatermark":
					if code.IsValid() && code.Int() == 0 {
						out = append(out, fmt.Sprint(name, "=", v.Field(i).Int()))
					}
				case "RecordBatches":
					out = append(out, fmt.Sprint("bytes=", v.Field(i).Len()))
				case "Topics", "Partitions", "Resources":
					walk(v.Field(i))
				}
			}
		}
	}
	walk(reflect.ValueOf(resp).Elem())
	return out
}
