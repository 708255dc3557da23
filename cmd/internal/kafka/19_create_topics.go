package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// CreateTopics, key 19.
//
//	v1  validate only, error messages
//	v4  clients may ask for the default number of partitions and replicas, -1
//	    (KIP-464). Brokers give it at every version, and kafkajs asks at v3.
//	v5  flexible; the answer has partitions, replication factor and configs
//	    (KIP-525)
//	v6  THROTTLING_QUOTA_EXCEEDED may be answered
//	v7  topic ids (KIP-516)
//
// A client that asks for replicas on certain brokers, all of which must exist,
// gets the number of partitions and replicas of that assignment: the bucket is
// the only replica.
func init() {
	register(listener.API{
		Key: kmsg.CreateTopics, Min: 2, Max: 7, Forwarded: true,
		Shape: shape{
			listOf(sizeOf[kmsg.CreateTopicsRequestTopic](), str(), num(4), num(2),
				listOf(sizeOf[kmsg.CreateTopicsRequestTopicReplicaAssignment](), num(4), ints()),
				listOf(sizeOf[kmsg.CreateTopicsRequestTopicConfig](), str(), str())),
			num(4), num(1),
		},
	}, func(s *services) listener.Handler { return s.topics.beginCreateTopics })
}

// createTopicsDetails is the first version whose answer describes the new
// topic.
const createTopicsDetails = 5

// maxTopicsAtOnce limits the topics of one request, as Kafka's controller does:
// the answer has all configs of each.
const maxTopicsAtOnce = 10_000

var errManyTopics = coded(kerr.PolicyViolation, "the request names more than %d topics; send several", maxTopicsAtOnce)

// adminWait limits how long an administrative request may take; clients set a
// shorter time-out of their own.
const adminWait = time.Minute

func adminTimeout(millis int32) time.Duration {
	return min(max(time.Duration(millis)*time.Millisecond, time.Second), adminWait)
}

func (s *topicService) beginCreateTopics(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.CreateTopicsRequest)
		ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
		defer cancel()
		resp := kmsg.NewPtrCreateTopicsResponse()
		resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(req.Topics))
		asked := s.readCreations(r.Client, req, resp)
		if len(asked.wanted) > 0 {
			for i, result := range s.admin.CreateTopics(ctx, asked.wanted, req.ValidateOnly) {
				s.fillCreated(asked.slots[i], result, r.Version)
			}
		}
		if len(asked.deleted) > 0 && !req.ValidateOnly {
			for i, err := range s.admin.RestoreTopics(ctx, asked.deleted) {
				s.fillRestored(asked.back[i], asked.deleted[i], err, r.Version)
			}
		}
		var code firstCode
		for i := range resp.Topics {
			code.note(resp.Topics[i].ErrorCode)
		}
		r.Reply(resp, int16(code))
	})
}

// creations are the topics of a request that pass the first checks, with their places in
// the answer: new ones, and deleted ones that it asks back.
type creations struct {
	wanted  []metadata.NewTopic
	slots   []*kmsg.CreateTopicsResponseTopic
	deleted []segment.ID
	back    []*kmsg.CreateTopicsResponseTopic
}

func (s *topicService) readCreations(by *listener.Client, req *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse) (c creations) {
	asked := countNames(req.Topics)
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Default()
		out.Topic = in.Topic
		t, err := s.newTopic(in)
		if asked[out.Topic] > 1 {
			err = coded(kerr.InvalidRequest, "topic %q stands %d times in the request", out.Topic, asked[out.Topic])
		}
		if len(req.Topics) > maxTopicsAtOnce {
			err = errManyTopics
		}
		if denied := s.gate.newTopic(by, out.Topic); denied != nil {
			err = denied
		}
		var id segment.ID
		wants, restores := restores(in)
		if restores && err == nil {
			id, err = s.toRestore(in, wants)
		}
		switch {
		case err != nil:
			s.failCreate(out, err)
		case restores:
			c.deleted, c.back = append(c.deleted, id), append(c.back, out)
		default:
			c.wanted, c.slots = append(c.wanted, t), append(c.slots, out)
		}
	}
	return c
}

func countNames(topics []kmsg.CreateTopicsRequestTopic) map[string]int {
	n := make(map[string]int, len(topics))
	for i := range topics {
		n[topics[i].Topic]++
	}
	return n
}

// newTopic reads the request for one topic.
func (s *topicService) newTopic(in *kmsg.CreateTopicsRequestTopic) (metadata.NewTopic, error) {
	t := metadata.NewTopic{
		Name: in.Topic, Partitions: in.NumPartitions, ReplicationFactor: in.ReplicationFactor,
		Configs: make(map[string]string, len(in.Configs)),
	}
	for _, c := range in.Configs {
		if c.Value == nil {
			return t, coded(kerr.InvalidConfig, "config %q has no value; leave it out for the default", c.Name)
		}
		if _, twice := t.Configs[c.Name]; twice {
			return t, coded(kerr.InvalidConfig, "config %q is given twice", c.Name)
		}
		t.Configs[c.Name] = *c.Value
	}
	if len(in.ReplicaAssignment) > 0 {
		err := s.assigned(&t, in)
		return t, err
	}
	return t, nil
}

// assigned takes the numbers from an assignment of replicas to brokers.
func (s *topicService) assigned(t *metadata.NewTopic, in *kmsg.CreateTopicsRequestTopic) error {
	if in.NumPartitions != -1 || in.ReplicationFactor != -1 {
		return coded(kerr.InvalidRequest, "give either an assignment of replicas, or the number of partitions and the replication factor")
	}
	replicas := len(in.ReplicaAssignment[0].Replicas)
	seen := make(map[int32]bool, len(in.ReplicaAssignment))
	for _, a := range in.ReplicaAssignment {
		switch {
		case a.Partition < 0 || int(a.Partition) >= len(in.ReplicaAssignment) || seen[a.Partition]:
			return coded(kerr.InvalidReplicaAssignment, "partitions must be numbered from 0 without a gap, each once")
		case len(a.Replicas) != replicas:
			return coded(kerr.InvalidReplicaAssignment, "all partitions need the same number of replicas, partition %d has %d and another %d", a.Partition, len(a.Replicas), replicas)
		}
		if err := s.checkReplicas(a.Replicas); err != nil {
			return err
		}
		seen[a.Partition] = true
	}
	t.Partitions, t.ReplicationFactor = int32(len(in.ReplicaAssignment)), int16(replicas)
	return nil
}

// checkReplicas checks that the brokers of an assignment exist, and are named
// once each.
func (s *topicService) checkReplicas(replicas []int32) error {
	if len(replicas) == 0 {
		return coded(kerr.InvalidReplicaAssignment, "the assignment has a partition without replicas")
	}
	brokers := s.brokers()
	seen := make(map[int32]bool, len(brokers))
	for _, id := range replicas {
		switch {
		case !slices.ContainsFunc(brokers, func(b Broker) bool { return b.ID == id }):
			return coded(kerr.InvalidReplicaAssignment, "the assignment names broker %d, which does not exist", id)
		case seen[id]:
			return coded(kerr.InvalidReplicaAssignment, "the assignment names broker %d more than once for a partition", id)
		}
		seen[id] = true
	}
	return nil
}

func (s *topicService) failCreate(out *kmsg.CreateTopicsResponseTopic, err error) {
	out.ErrorCode = s.codeFor(err, onAdmin, "CreateTopics")
	out.ErrorMessage = kmsg.StringPtr(err.Error())
	out.NumPartitions, out.ReplicationFactor = -1, -1
}

func (s *topicService) fillCreated(out *kmsg.CreateTopicsResponseTopic, result metadata.CreateResult, version int16) {
	if result.Err != nil {
		s.failCreate(out, result.Err)
		return
	}
	t := result.Topic
	if t.ID != (segment.ID{}) {
		out.TopicID = t.ID
	}
	if version < createTopicsDetails {
		return
	}
	out.NumPartitions, out.ReplicationFactor = int32(len(t.Partitions)), t.ReplicationFactor
	for _, c := range configsOf(t) {
		out.Configs = append(out.Configs, kmsg.CreateTopicsResponseTopicConfig{
			Name: c.name, Value: kmsg.StringPtr(c.value), Source: int8(c.source),
		})
	}
}
