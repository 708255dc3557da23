package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

// follower is the Control of a node that applies journal 0 behind the controller.
type follower struct {
	fakeControl
	proofs  atomic.Int32
	fails   atomic.Bool
	onProof func() // the state moves on
}

func (f *follower) Prove(_ context.Context, since time.Time) error {
	f.proofs.Add(1)
	if since.IsZero() {
		return errors.New("since when?")
	}
	if f.fails.Load() {
		return errors.New("no store")
	}
	if f.onProof != nil {
		f.onProof()
	}
	return nil
}

// askers ask for the topic "a" or its partition 0, each with the code of its answer.
var askers = map[string]struct {
	ask    func(cl *client, id segment.ID) int16
	later  *kerr.Error // without a proof
	absent *kerr.Error
}{
	"metadata": {func(cl *client, _ segment.ID) int16 {
		name := "a"
		return cl.ask(&kmsg.MetadataRequest{Version: 9, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}}).(*kmsg.MetadataResponse).Topics[0].ErrorCode
	}, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition},
	"metadata by id": {func(cl *client, id segment.ID) int16 {
		return cl.ask(&kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{TopicID: id}}}).(*kmsg.MetadataResponse).Topics[0].ErrorCode
	}, kerr.LeaderNotAvailable, kerr.UnknownTopicID},
	"produce": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.ProduceRequest{Version: 9, Acks: -1, TimeoutMillis: 1000, Topics: []kmsg.ProduceRequestTopic{{Topic: "a", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batchtest.Build(batchtest.Spec{Records: batchtest.Values(1000, "x")})}}}}}
		return cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	}, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition},
	"fetch": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.FetchRequest{Version: 11, SessionEpoch: -1, Topics: []kmsg.FetchRequestTopic{{Topic: "a", Partitions: []kmsg.FetchRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}}
		return cl.ask(req).(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode
	}, kerr.OffsetNotAvailable, kerr.UnknownTopicOrPartition},
	"offsets": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.ListOffsetsRequest{Version: 7, Topics: []kmsg.ListOffsetsRequestTopic{{Topic: "a", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1, CurrentLeaderEpoch: -1}}}}}
		return cl.ask(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode
	}, kerr.OffsetNotAvailable, kerr.UnknownTopicOrPartition},
	"end of an epoch": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.OffsetForLeaderEpochRequest{Version: 4, Topics: []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "a", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}}
		return cl.ask(req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0].ErrorCode
	}, kerr.OffsetNotAvailable, kerr.UnknownTopicOrPartition},
	"deletion of records": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.DeleteRecordsRequest{Version: 2, TimeoutMillis: 1000, Topics: []kmsg.DeleteRecordsRequestTopic{{Topic: "a", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: -1}}}}}
		return cl.ask(req).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode
	}, kerr.RequestTimedOut, kerr.UnknownTopicOrPartition},
	"configs": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.DescribeConfigsRequest{Version: 4, Resources: []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "a"}}}
		return cl.ask(req).(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode
	}, kerr.RequestTimedOut, kerr.UnknownTopicOrPartition},
	"partitions": {func(cl *client, _ segment.ID) int16 {
		req := &kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 10, Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "a"}}}
		return cl.ask(req).(*kmsg.DescribeTopicPartitionsResponse).Topics[0].ErrorCode
	}, kerr.RequestTimedOut, kerr.UnknownTopicOrPartition},
}

// That there is no topic is said only by a node that has applied all metadata of before the
// request. The topic may have been created at another node.
func TestATopicIsUnknownByAProof(t *testing.T) {
	for name, a := range askers {
		t.Run(name, func(t *testing.T) {
			c, f := newCluster(), &follower{}
			id := newCluster().addTopic(t, "a", 1, nil).ID // ids are drawn in order
			b := c.backend()
			b.Control = f
			cl := start(t, c, Config{}, b).dial(t)
			f.fails.Store(true)
			if code := a.ask(cl, id); code != a.later.Code {
				t.Errorf("without a proof: code %d, want %d", code, a.later.Code)
			}
			f.fails.Store(false)
			if code := a.ask(cl, id); code != a.absent.Code {
				t.Errorf("after a proof: code %d, want %d", code, a.absent.Code)
			}
			f.onProof = func() {
				if _, known := c.Topic("a"); !known {
					c.addTopic(t, "a", 1, nil)
				}
			}
			if code := a.ask(cl, id); code != 0 {
				t.Errorf("a topic that the proof brings: code %d", code)
			}
			proofs := f.proofs.Load()
			if code := a.ask(cl, id); code != 0 || f.proofs.Load() != proofs {
				t.Errorf("a topic that is known: code %d, %d proofs", code, f.proofs.Load()-proofs)
			}
		})
	}
}

// A topic may have got more partitions at another node.
func TestAPartitionIsUnknownByAProof(t *testing.T) {
	c, f := newCluster(), &follower{}
	topic := c.addTopic(t, "a", 1, nil)
	b := c.backend()
	b.Control = f
	cl := start(t, c, Config{}, b).dial(t)
	ask := func() int16 {
		req := sample(0, 9, topic).(*kmsg.ProduceRequest)
		req.Topics[0].Partitions[0].Partition = 1
		return cl.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	}
	f.fails.Store(true)
	if code := ask(); code != kerr.LeaderNotAvailable.Code {
		t.Errorf("without a proof: code %d", code)
	}
	f.fails.Store(false)
	if code := ask(); code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("after a proof: code %d", code)
	}
	f.onProof = func() { c.CreatePartitions(t.Context(), []metadata.NewPartitions{{Topic: "a", Count: 2}}, false) }
	if code := ask(); code != 0 {
		t.Errorf("a partition that the proof brings: code %d", code)
	}
}

// A fetch session keeps no answer that a topic is unknown: it may have been created since.
func TestASessionAsksAgainForAnUnknownTopic(t *testing.T) {
	c, f := newCluster(), &follower{}
	b := c.backend()
	b.Control = f
	cl := start(t, c, Config{}, b).dial(t)
	req := &kmsg.FetchRequest{Version: 11, Topics: []kmsg.FetchRequestTopic{{Topic: "a", Partitions: []kmsg.FetchRequestTopicPartition{{CurrentLeaderEpoch: -1, PartitionMaxBytes: 1000}}}}}
	resp := cl.ask(req).(*kmsg.FetchResponse)
	f.fails.Store(true)
	next := &kmsg.FetchRequest{Version: 11, SessionID: resp.SessionID, SessionEpoch: 1}
	if resp := cl.ask(next).(*kmsg.FetchResponse); resp.Topics[0].Partitions[0].ErrorCode != kerr.OffsetNotAvailable.Code {
		t.Errorf("without a proof: code %d", resp.Topics[0].Partitions[0].ErrorCode)
	}
	f.fails.Store(false)
	next.SessionEpoch++
	if resp := cl.ask(next).(*kmsg.FetchResponse); resp.Topics[0].Partitions[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("after a proof: code %d", resp.Topics[0].Partitions[0].ErrorCode)
	}
}
