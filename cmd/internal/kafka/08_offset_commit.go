package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// OffsetCommit, key 8.
//
//	v2    retention time, up to v4 (KIP-211)
//	v3    throttle time
//	v6    leader epoch (KIP-320)
//	v7    static members (KIP-345)
//	v8    flexible
//	v9    GROUP_ID_NOT_FOUND may be answered (KIP-848)
//	v10   topic ids (KIP-848)
//
// The answer waits until the offsets are committed in the bucket. Requests are
// done in the order of their arrival, and many share one commit.
func init() {
	register(listener.API{
		Key: kmsg.OffsetCommit, Min: 2, Max: 10,
		Shape: shape{
			str(), num(4), str(), str().From(7), num(8).To(4),
			listOf(sizeOf[kmsg.OffsetCommitRequestTopic](), str().To(9), num(16).From(10),
				listOf(sizeOf[kmsg.OffsetCommitRequestTopicPartition](), num(4), num(8), num(4).From(6), str())),
		},
	}, func(s *services) listener.Handler { return s.groups.beginOffsetCommit })
}

// The first versions of OffsetCommit with these features.
const (
	commitNoRetention   = 5
	commitLeaderEpoch   = 6
	commitGroupNotFound = 9
	commitTopicIDs      = 10
)

// committing is one OffsetCommit request under way.
type committing struct {
	service *groupService
	request *listener.Request
	answer  *kmsg.OffsetCommitResponse
	ask     group.CommitRequest
	slots   []*kmsg.OffsetCommitResponseTopicPartition // slots for the results of ask
}

func (s *groupService) beginOffsetCommit(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	c := &committing{service: s, request: r, answer: kmsg.NewPtrOffsetCommitResponse()}
	c.ask.Identity = group.Identity{Group: req.Group, Member: req.MemberID, Instance: req.InstanceID, Generation: req.Generation}
	c.answer.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	keep := time.Duration(-1)
	if r.Version < commitNoRetention && req.RetentionTimeMillis >= 0 {
		keep = time.Duration(min(req.RetentionTimeMillis, maxKeepMs)) * time.Millisecond
	}
	for i := range req.Topics {
		c.topic(&req.Topics[i], &c.answer.Topics[i], keep)
	}
	if len(c.slots) == 0 && len(req.Topics) > 0 {
		c.done(nil, nil) // there is nothing to commit
		return
	}
	if err := s.ask(ctx, r.Client, toRead, req.Group, func(m *group.Machine, out coordinator.Out) { m.Commit(out, c.ask, c.done) }); err != nil {
		c.done(nil, err)
	}
}

// maxKeepMs limits the retention that a client may ask for: it means forever.
const maxKeepMs = int64(100 * 365 * 24 * time.Hour / time.Millisecond)

func (c *committing) topic(in *kmsg.OffsetCommitRequestTopic, out *kmsg.OffsetCommitResponseTopic, keep time.Duration) {
	out.Topic, out.TopicID = in.Topic, in.TopicID
	out.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(in.Partitions))
	t, unknown := c.service.gate.topic(c.request, toRead, topicRef{in.Topic, in.TopicID, c.request.Version >= commitTopicIDs})
	for i := range in.Partitions {
		p, slot := &in.Partitions[i], &out.Partitions[i]
		slot.Partition = p.Partition
		err := unknown
		if err == nil {
			t, err = c.service.gate.withPartition(c.request, t, p.Partition)
		}
		if err != nil {
			slot.ErrorCode = c.service.groupCode(err, "OffsetCommit")
			continue
		}
		commit := group.Commit{
			Topic: t.Name, TopicID: t.ID, Partition: p.Partition, Offset: p.Offset, LeaderEpoch: -1, Keep: keep,
		}
		if c.request.Version >= commitLeaderEpoch {
			commit.LeaderEpoch = p.LeaderEpoch
		}
		if p.Metadata != nil {
			commit.Metadata = *p.Metadata
		}
		c.ask.Offsets = append(c.ask.Offsets, commit)
		c.slots = append(c.slots, slot)
	}
}

// done answers with the result for all offsets, or for each.
func (c *committing) done(each []error, all error) {
	switch {
	case errors.Is(all, group.ErrNotFound) && c.request.Version < commitGroupNotFound:
		all = group.ErrIllegalGeneration
	case errors.Is(all, coordinator.ErrTooLarge):
		all = coded(kerr.InvalidCommitOffsetSize, "%v", all)
	}
	codes := make([]int16, len(c.slots))
	c.service.spread(codes, each, all, "OffsetCommit")
	for i, slot := range c.slots {
		slot.ErrorCode = codes[i]
	}
	var code firstCode
	for i := range c.answer.Topics {
		for j := range c.answer.Topics[i].Partitions {
			code.note(c.answer.Topics[i].Partitions[j].ErrorCode)
		}
	}
	c.request.Reply(c.answer, int16(code))
}
