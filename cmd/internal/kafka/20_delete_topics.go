package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/tiering/segment"
)

// DeleteTopics, key 20.
//
//	v4  flexible
//	v5  error messages (KIP-599)
//	v6  topics by name or by id (KIP-516)
func init() {
	register(listener.API{
		Key: kmsg.DeleteTopics, Min: 1, Max: 6, Forwarded: true,
		Shape: shape{
			strs().To(5),
			listOf(sizeOf[kmsg.DeleteTopicsRequestTopic](), str(), num(16)).From(6),
			num(4),
		},
	}, func(s *services) listener.Handler { return s.topics.beginDeleteTopics })
}

const deleteTopicsByID = 6

func (s *topicService) beginDeleteTopics(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.DeleteTopicsRequest)
		ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
		defer cancel()
		resp := kmsg.NewPtrDeleteTopicsResponse()
		wanted := deletions(req, r.Version)
		resp.Topics = make([]kmsg.DeleteTopicsResponseTopic, len(wanted))
		var ids []segment.ID
		var slots []*kmsg.DeleteTopicsResponseTopic
		seen := make(map[segment.ID]bool, len(wanted))
		for i, w := range wanted {
			out := &resp.Topics[i]
			out.Default()
			out.Topic, out.TopicID = w.Topic, w.TopicID
			id, err := s.toDelete(r, out)
			if err == nil && seen[id] {
				err = coded(kerr.InvalidRequest, "the topic stands in the request more than once")
			}
			if err != nil {
				s.failDelete(out, err)
				continue
			}
			seen[id] = true
			ids, slots = append(ids, id), append(slots, out)
		}
		if len(ids) > 0 {
			for i, err := range s.admin.DeleteTopics(ctx, ids) {
				s.failDelete(slots[i], err)
			}
		}
		var code firstCode
		for i := range resp.Topics {
			code.note(resp.Topics[i].ErrorCode)
		}
		r.Reply(resp, int16(code))
	})
}

// deletions returns the list of topics in the form of v6.
func deletions(req *kmsg.DeleteTopicsRequest, version int16) []kmsg.DeleteTopicsRequestTopic {
	if version >= deleteTopicsByID {
		return req.Topics
	}
	out := make([]kmsg.DeleteTopicsRequestTopic, len(req.TopicNames))
	for i := range req.TopicNames {
		out[i].Topic = &req.TopicNames[i]
	}
	return out
}

// toDelete finds the topic to delete and completes its name and id in the
// answer.
func (s *topicService) toDelete(r *listener.Request, out *kmsg.DeleteTopicsResponseTopic) (segment.ID, error) {
	byID := out.Topic == nil
	if !byID && out.TopicID != [16]byte{} {
		return segment.ID{}, coded(kerr.InvalidRequest, "give either the name or the id of a topic")
	}
	var name string
	if !byID {
		name = *out.Topic
	}
	t, err := s.gate.topic(r, toDelete, topicRef{name, out.TopicID, byID})
	if err != nil {
		return segment.ID{}, err
	}
	out.Topic, out.TopicID = &t.Name, t.ID
	return t.ID, nil
}

func (s *topicService) failDelete(out *kmsg.DeleteTopicsResponseTopic, err error) {
	if err == nil {
		return
	}
	out.ErrorCode = s.codeFor(err, onAdmin, "DeleteTopics")
	out.ErrorMessage = kmsg.StringPtr(fmt.Sprint(err))
}
