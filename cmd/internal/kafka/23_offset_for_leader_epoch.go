package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
)

// OffsetForLeaderEpoch, key 23 (KIP-101, KIP-279).
//
//	v2  the client's leader epoch (KIP-320)
//	v3  replica id, ignored: every client is served as a consumer
//	v4  flexible
func init() {
	register(listener.API{
		Key: kmsg.OffsetForLeaderEpoch, Min: 2, Max: 4,
		Shape: shape{
			num(4).From(3),
			listOf(sizeOf[kmsg.OffsetForLeaderEpochRequestTopic](), str(),
				listOf(sizeOf[kmsg.OffsetForLeaderEpochRequestTopicPartition](), num(4), num(4), num(4))),
		},
	}, func(s *services) listener.Handler { return s.reading.beginOffsetForLeaderEpoch })
}

func (s *readService) beginOffsetForLeaderEpoch(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
		ctx, cancel := context.WithTimeout(ctx, lookupWait)
		defer cancel()
		resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
		resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
		var work []func()
		offsets := s.reader.Offsets()
		for i := range req.Topics {
			in, out := &req.Topics[i], &resp.Topics[i]
			out.Topic = in.Topic
			out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(in.Partitions))
			t, err := s.gate.topic(r, toDescribe, byName(in.Topic))
			for j := range in.Partitions {
				work = append(work, func() { s.epochEnd(ctx, r, offsets, t, err, &in.Partitions[j], &out.Partitions[j]) })
			}
		}
		inParallel(lookups, work)
		var code firstCode
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				code.note(resp.Topics[i].Partitions[j].ErrorCode)
			}
		}
		r.Reply(resp, int16(code))
	})
}

func (s *readService) epochEnd(ctx context.Context, r *listener.Request, offsets Offsets, t *metadata.Topic, unknown error, in *kmsg.OffsetForLeaderEpochRequestTopicPartition, out *kmsg.OffsetForLeaderEpochResponseTopicPartition) {
	out.Default()
	out.Partition = in.Partition
	out.LeaderEpoch, out.EndOffset = -1, -1
	if unknown == nil {
		t, unknown = s.gate.withPartition(r, t, in.Partition)
	}
	if unknown != nil {
		out.ErrorCode = s.codeFor(unknown, onOffsets, "OffsetForLeaderEpoch")
		return
	}
	end, err := offsets.EpochEnd(ctx, partlog.Key{Topic: t.ID, Index: in.Partition}, in.CurrentLeaderEpoch, in.LeaderEpoch)
	if err != nil {
		out.ErrorCode = s.codeFor(err, onOffsets, "OffsetForLeaderEpoch")
		return
	}
	out.LeaderEpoch, out.EndOffset = end.Epoch, end.End
}
