package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments, key 46 (KIP-455). No partition is ever being
// reassigned to other brokers: the bucket is the only replica.
func init() {
	register(&api{
		key: kmsg.ListPartitionReassignments, min: 0, max: 0,
		request: shape{num(4), listOf(sizeOf[kmsg.ListPartitionReassignmentsRequestTopic](), str(), ints())},
		begin:   (*Server).beginListPartitionReassignments,
	})
}

func (s *Server) beginListPartitionReassignments(_ context.Context, r *request) {
	r.reply(kmsg.NewPtrListPartitionReassignmentsResponse(), 0)
}
