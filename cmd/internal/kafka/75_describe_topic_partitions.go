package kafka

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// DescribeTopicPartitions, key 75 (KIP-966): topics in the order of their
// names, a bounded number of partitions at a time. Without names it is all
// topics. The answer says where the next request continues.
func init() {
	register(listener.API{
		Key: kmsg.DescribeTopicPartitions, Min: 0, Max: 0, Bulky: true,
		Shape: shape{
			listOf(sizeOf[kmsg.DescribeTopicPartitionsRequestTopic](), str()),
			num(4), optionalOf(sizeOf[kmsg.DescribeTopicPartitionsRequestCursor](), str(), num(4)),
		},
	}, func(s *services) listener.Handler { return s.topics.beginDescribeTopicPartitions })
}

// maxDescribed limits the partitions of one answer, as Kafka's
// max.request.partition.size.limit does.
const maxDescribed = 2000

func (s *topicService) beginDescribeTopicPartitions(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	if req.Cursor != nil && req.Cursor.Partition < 0 {
		r.HangUp(coded(kerr.InvalidRequest, "cursor at partition %d of topic %q", req.Cursor.Partition, req.Cursor.Topic))
		return
	}
	s.asLeader(ctx, r, func() { s.describeTopicPartitions(r, req) })
}

func (s *topicService) describeTopicPartitions(r *listener.Request, req *kmsg.DescribeTopicPartitionsRequest) {
	d := description{
		service: s, request: r, resp: kmsg.NewPtrDescribeTopicPartitionsResponse(),
		left: min(max(int(req.ResponsePartitionLimit), 1), maxDescribed), cursor: req.Cursor,
	}
	for _, name := range s.namesFrom(r.Client, req) {
		if !d.add(name) {
			break
		}
	}
	var code firstCode
	for i := range d.resp.Topics {
		code.note(d.resp.Topics[i].ErrorCode)
	}
	r.Reply(d.resp, int16(code))
}

// namesFrom returns the wanted names from the cursor on, in order.
func (s *topicService) namesFrom(by *listener.Client, req *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(names) == 0 {
		for _, t := range s.gate.allTopics(by, toDescribe) {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil {
		names = slices.DeleteFunc(names, func(name string) bool { return strings.Compare(name, req.Cursor.Topic) < 0 })
	}
	return names
}

// description is an answer in preparation.
type description struct {
	service *topicService
	request *listener.Request
	resp    *kmsg.DescribeTopicPartitionsResponse
	left    int // partitions that it may hold
	cursor  *kmsg.DescribeTopicPartitionsRequestCursor
}

// add adds a topic, and reports whether there is room for more.
func (d *description) add(name string) bool {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic = &name
	first := int32(0)
	if d.cursor != nil && d.cursor.Topic == name {
		first = d.cursor.Partition
	}
	t, err := d.service.gate.topic(d.request, toDescribe, byName(name))
	if err != nil {
		if d.left == 0 {
			return d.goOnAt(name, 0)
		}
		if bad := metadata.CheckName(name); bad != nil && unknownTopic(err) {
			err = bad
		}
		out.ErrorCode = d.service.codeFor(err, onAdmin, "DescribeTopicPartitions")
		d.resp.Topics = append(d.resp.Topics, out)
		return true
	}
	out.TopicID, out.IsInternal = t.ID, t.Internal()
	out.AuthorizedOperations = d.service.gate.operationsOnTopic(d.request.Client, name) // they cannot be requested separately
	for i := first; int(i) < len(t.Partitions); i++ {
		if d.left == 0 {
			if i > first {
				d.resp.Topics = append(d.resp.Topics, out)
			}
			return d.goOnAt(name, i)
		}
		d.left--
		out.Partitions = append(out.Partitions, d.service.describePartition(t, i))
	}
	d.resp.Topics = append(d.resp.Topics, out)
	return true
}

func (d *description) goOnAt(topic string, partition int32) bool {
	next := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	next.Topic, next.Partition = topic, partition
	d.resp.NextCursor = &next
	return false
}

func (s *topicService) describePartition(t *metadata.Topic, i int32) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	place := s.placement(t, i)
	p.Partition, p.LeaderID, p.LeaderEpoch = i, place.Leader, place.Epoch
	p.Replicas = place.shown(t)
	p.ISR = p.Replicas
	// Null is allowed, but the Java client (4.4) throws an exception at it.
	p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
	if place.Leader < 0 {
		p.ErrorCode = kerr.LeaderNotAvailable.Code
	}
	return p
}
