package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// OffsetDelete, key 47 (KIP-496).
//
// An unknown topic is an error of its partitions, as in Kafka: its offsets are
// deleted without a request. So is a partition that the topic does not have.
func init() {
	register(listener.API{
		Key: kmsg.OffsetDelete, Min: 0, Max: 0,
		Shape: shape{
			str(),
			listOf(sizeOf[kmsg.OffsetDeleteRequestTopic](), str(),
				listOf(sizeOf[kmsg.OffsetDeleteRequestTopicPartition](), num(4))),
		},
	}, func(s *services) listener.Handler { return s.groups.beginOffsetDelete })
}

func (s *groupService) beginOffsetDelete(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, len(req.Topics))
	var which []group.TopicPartition
	var slots []*kmsg.OffsetDeleteResponseTopicPartition
	var code firstCode
	for i, t := range req.Topics {
		out := &resp.Topics[i]
		out.Topic, out.Partitions = t.Topic, make([]kmsg.OffsetDeleteResponseTopicPartition, len(t.Partitions))
		topic, unknown := s.gate.topic(r, toRead, byName(t.Topic))
		for j, p := range t.Partitions {
			out.Partitions[j].Partition = p.Partition
			err := unknown
			if err == nil {
				topic, err = s.gate.withPartition(r, topic, p.Partition)
			}
			if err != nil {
				out.Partitions[j].ErrorCode = code.note(s.groupCode(err, "OffsetDelete"))
				continue
			}
			which, slots = append(which, group.TopicPartition{Topic: t.Topic, Partition: p.Partition}), append(slots, &out.Partitions[j])
		}
	}
	done := func(each []error, all error) {
		resp.ErrorCode = code.note(s.groupCode(all, "OffsetDelete"))
		if all != nil {
			resp.Topics = nil
		}
		codes := make([]int16, len(slots))
		code.note(int16(s.spread(codes, each, all, "OffsetDelete")))
		for i, slot := range slots {
			slot.ErrorCode = codes[i]
		}
		r.Reply(resp, int16(code))
	}
	if err := s.ask(ctx, r.Client, toDelete, req.Group, func(m *group.Machine, out coordinator.Out) { m.DeleteOffsets(out, req.Group, which, done) }); err != nil {
		done(nil, err)
	}
}
