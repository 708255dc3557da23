package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/ingest"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/partlog"
)

// DeleteRecords, key 21 (KIP-107).
//
//	v2  flexible
//
// It is answered when the new start of each partition is committed. Offset -1
// stands for the high watermark. A topic that is only compacted keeps its
// records, as in Kafka.
func init() {
	register(listener.API{
		Key: kmsg.DeleteRecords, Min: 0, Max: 2,
		Shape: shape{
			listOf(sizeOf[kmsg.DeleteRecordsRequestTopic](), str(),
				listOf(sizeOf[kmsg.DeleteRecordsRequestTopicPartition](), num(4), num(8))),
			num(4),
		},
	}, func(s *services) listener.Handler { return s.writing.beginDeleteRecords })
}

// journalDeletions is the part of a request for one journal.
type journalDeletions struct {
	appender Appender
	wants    []ingest.Deletion
	slots    []*kmsg.DeleteRecordsResponseTopicPartition
}

func (s *writeService) beginDeleteRecords(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.DeleteRecordsRequest)
		ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
		defer cancel()
		resp := kmsg.NewPtrDeleteRecordsResponse()
		resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
		byJournal := map[uint32]*journalDeletions{}
		seen := make(map[namedPartition]bool)
		for i := range req.Topics {
			in, out := &req.Topics[i], &resp.Topics[i]
			out.Topic = in.Topic
			out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(in.Partitions))
			t, unknown := s.gate.topic(r, toDelete, byName(in.Topic))
			for j := range in.Partitions {
				slot := &out.Partitions[j]
				slot.Partition, slot.LowWatermark = in.Partitions[j].Partition, -1
				key, err := namedPartition{in.Topic, slot.Partition}, unknown
				if seen[key] {
					err = errTwice
				}
				seen[key] = true
				if err == nil {
					err = s.planDeletion(r, byJournal, t, in.Partitions[j].Offset, slot)
				}
				slot.ErrorCode = s.codeFor(err, onRecords, "DeleteRecords")
			}
		}
		s.deleteRecords(ctx, byJournal)
		var code firstCode
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				code.note(resp.Topics[i].Partitions[j].ErrorCode)
			}
		}
		r.Reply(resp, int16(code))
	})
}

// planDeletion adds a deletion to those of its journal.
func (s *writeService) planDeletion(r *listener.Request, byJournal map[uint32]*journalDeletions, t *metadata.Topic, before int64, slot *kmsg.DeleteRecordsResponseTopicPartition) error {
	t, err := s.gate.withPartition(r, t, slot.Partition)
	if err != nil {
		return err
	}
	switch {
	case t.Internal():
		return metadata.ErrInternalTopic
	case t.Values.Compact && !t.Values.Delete:
		return coded(kerr.PolicyViolation, "topic %q is compacted only: its cleanup.policy deletes no records", t.Name)
	}
	journal := t.Partitions[slot.Partition].Journal
	d := byJournal[journal]
	if d == nil {
		appender := s.appender(journal)
		switch {
		case s.readsOnly():
			return metadata.ErrReadsOnly
		case appender == nil:
			return ingest.ErrNotLeader
		}
		d = &journalDeletions{appender: appender}
		byJournal[journal] = d
	}
	d.wants = append(d.wants, ingest.Deletion{Key: partlog.Key{Topic: t.ID, Index: slot.Partition}, Before: before})
	d.slots = append(d.slots, slot)
	return nil
}

func (s *writeService) deleteRecords(ctx context.Context, byJournal map[uint32]*journalDeletions) {
	var work []func()
	for _, d := range byJournal {
		work = append(work, func() {
			for i, result := range d.appender.DeleteRecords(ctx, d.wants) {
				d.slots[i].LowWatermark = result.LogStart
				d.slots[i].ErrorCode = s.codeFor(result.Err, onRecords, "DeleteRecords")
			}
		})
	}
	inParallel(lookups, work)
}
