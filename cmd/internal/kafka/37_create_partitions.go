package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// CreatePartitions, key 37 (KIP-195).
//
//	v2  flexible
//	v3  THROTTLING_QUOTA_EXCEEDED may be answered
//
// As with CreateTopics, an assignment of replicas to brokers has to be
// consistent, and the bucket is the only replica.
func init() {
	register(listener.API{
		Key: kmsg.CreatePartitions, Min: 0, Max: 3, Forwarded: true,
		Shape: shape{
			listOf(sizeOf[kmsg.CreatePartitionsRequestTopic](), str(), num(4),
				listOf(sizeOf[kmsg.CreatePartitionsRequestTopicAssignment](), ints())),
			num(4), num(1),
		},
	}, func(s *services) listener.Handler { return s.topics.beginCreatePartitions })
}

func (s *topicService) beginCreatePartitions(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.CreatePartitionsRequest)
		ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
		defer cancel()
		asked := make(map[string]int, len(req.Topics))
		for i := range req.Topics {
			asked[req.Topics[i].Topic]++
		}
		resp := kmsg.NewPtrCreatePartitionsResponse()
		resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, len(req.Topics))
		var wanted []metadata.NewPartitions
		var slots []*kmsg.CreatePartitionsResponseTopic
		var code firstCode
		for i := range req.Topics {
			in, out := &req.Topics[i], &resp.Topics[i]
			out.Topic = in.Topic
			n, err := s.newPartitions(in)
			if asked[in.Topic] > 1 {
				err = coded(kerr.InvalidRequest, "topic %q stands %d times in the request", in.Topic, asked[in.Topic])
			}
			if denied := s.gate.topicName(r.Client, toAlter, in.Topic); denied != nil {
				err = denied
			}
			if err != nil {
				code.note(s.failPartitions(out, err))
				continue
			}
			wanted, slots = append(wanted, n), append(slots, out)
		}
		if len(wanted) > 0 {
			for i, err := range s.admin.CreatePartitions(ctx, wanted, req.ValidateOnly) {
				if err != nil {
					code.note(s.failPartitions(slots[i], err))
				}
			}
		}
		r.Reply(resp, int16(code))
	})
}

// newPartitions reads the request for one topic.
func (s *topicService) newPartitions(in *kmsg.CreatePartitionsRequestTopic) (metadata.NewPartitions, error) {
	n := metadata.NewPartitions{Topic: in.Topic, Count: in.Count}
	if in.Assignment == nil {
		return n, nil
	}
	n.Assigned = make([]int, len(in.Assignment))
	for i, a := range in.Assignment {
		if err := s.checkReplicas(a.Replicas); err != nil {
			return n, err
		}
		n.Assigned[i] = len(a.Replicas)
	}
	return n, nil
}

func (s *topicService) failPartitions(out *kmsg.CreatePartitionsResponseTopic, err error) int16 {
	out.ErrorCode = s.codeFor(err, onAdmin, "CreatePartitions")
	out.ErrorMessage = kmsg.StringPtr(err.Error())
	return out.ErrorCode
}
