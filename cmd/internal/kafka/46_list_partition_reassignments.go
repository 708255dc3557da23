package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// ListPartitionReassignments, key 46 (KIP-455). No partition is ever being
// reassigned to other brokers: the bucket is the only replica.
func init() {
	register(listener.API{
		Key: kmsg.ListPartitionReassignments, Min: 0, Max: 0,
		Shape: shape{num(4), listOf(sizeOf[kmsg.ListPartitionReassignmentsRequestTopic](), str(), ints())},
	}, func(s *services) listener.Handler { return s.clusters.beginListPartitionReassignments })
}

func (s *clusterService) beginListPartitionReassignments(_ context.Context, r *listener.Request) {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	if err := s.gate.cluster(r.Client, toDescribe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = s.codeFor(err, onAdmin, "ListPartitionReassignments"), kmsg.StringPtr(err.Error())
	}
	r.Reply(resp, resp.ErrorCode)
}
