package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator, key 10.
//
//	v1  coordinator type, error message
//	v3  flexible
//	v4  many keys at once (KIP-699)
//
// Neither groups nor transactions are supported yet, but the key is needed all the
// same: librdkafka before 2.11.1 takes its absence for a broker that does not know
// lz4 (rdkafka_feature.c). A group's coordinator is said to be this node, which
// advertises none of the keys a group needs: clients that only assign partitions
// are left alone, and those that join are told by their own library that the broker
// does not support it, at once. An error would have librdkafka ask again every
// second, and wait for 45 s when it closes. For transactions it is the other way
// round: only an error ends a transactional producer, and of all codes only this
// one is final to librdkafka.
func init() {
	register(api{
		key: kmsg.FindCoordinator, min: 0, max: 5, maxFrame: plainFrame,
		request: shape{str().to(3), num(1).from(1), strs().from(4)},
		begin:   (*Server).beginFindCoordinator,
	})
}

const (
	coordinatorKeys  = 4 // the first version that asks for many
	groupCoordinator = int8(0)
)

func (s *Server) beginFindCoordinator(_ context.Context, r *request) {
	req := r.body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewPtrFindCoordinatorResponse()
	c := s.coordinator(req.CoordinatorType)
	if r.version < coordinatorKeys {
		resp.ErrorCode, resp.ErrorMessage = c.ErrorCode, c.ErrorMessage
		resp.NodeID, resp.Host, resp.Port = c.NodeID, c.Host, c.Port
		r.reply(resp, c.ErrorCode)
		return
	}
	for _, key := range req.CoordinatorKeys {
		c.Key = key
		resp.Coordinators = append(resp.Coordinators, c)
	}
	r.reply(resp, c.ErrorCode)
}

// coordinator is the answer for a key of a type, but for the key.
func (s *Server) coordinator(kind int8) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.NodeID, c.Port = -1, -1
	if kind != groupCoordinator {
		c.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
		c.ErrorMessage = kmsg.StringPtr("transactions are not supported yet")
		return c
	}
	self := s.backend.NodeID()
	for _, b := range s.backend.Brokers() {
		if b.ID == self {
			c.NodeID, c.Host, c.Port = b.ID, b.Host, b.Port
			return c
		}
	}
	c.ErrorCode = kerr.CoordinatorNotAvailable.Code
	return c
}
