package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
)

// FindCoordinator, key 10.
//
//	v1  coordinator type, error message
//	v3  flexible
//	v4  many keys at once (KIP-699)
//
// The coordinator of a group is the leader of its partition of
// __consumer_offsets, which is created at the first request. A node that only
// reads names itself, and refuses later requests to the coordinator. Clients
// that only read partitions of their choice ask for a coordinator too, and must
// not fail because of it.
//
// There are no transactions yet. The code for them is the only one that is
// final to librdkafka, and ends a transactional producer at once.
func init() {
	register(listener.API{
		Key: kmsg.FindCoordinator, Min: 0, Max: 5,
		Shape: shape{str().To(3), num(1).From(1), strs().From(4)},
	}, func(s *services) listener.Handler { return s.groups.beginFindCoordinator })
}

const (
	coordinatorKeys = 4 // the first version for many
	// coordinatorWait limits how long an answer waits for the topic to be
	// created.
	coordinatorWait = 20 * time.Second
)

// Types of coordinators.
const (
	groupCoordinator       = int8(0)
	transactionCoordinator = int8(1)
)

func (s *groupService) beginFindCoordinator(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, coordinatorWait)
		defer cancel()
		req := r.Body.(*kmsg.FindCoordinatorRequest)
		resp := kmsg.NewPtrFindCoordinatorResponse()
		if r.Version < coordinatorKeys {
			c := s.coordinator(ctx, r.Client, req.CoordinatorType, req.CoordinatorKey)
			resp.ErrorCode, resp.ErrorMessage = c.ErrorCode, c.ErrorMessage
			resp.NodeID, resp.Host, resp.Port = c.NodeID, c.Host, c.Port
			r.Reply(resp, c.ErrorCode)
			return
		}
		var code firstCode
		for _, key := range req.CoordinatorKeys {
			c := s.coordinator(ctx, r.Client, req.CoordinatorType, key)
			code.note(c.ErrorCode)
			resp.Coordinators = append(resp.Coordinators, c)
		}
		r.Reply(resp, int16(code))
	})
}

// coordinator returns the answer for one key.
func (s *groupService) coordinator(ctx context.Context, by *listener.Client, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port = key, -1, -1
	b, err := s.findCoordinator(ctx, by, kind, key)
	if err != nil {
		c.ErrorCode = s.groupCode(err, "FindCoordinator")
		c.ErrorMessage = kmsg.StringPtr(err.Error())
		return c
	}
	c.NodeID, c.Host, c.Port = b.id, b.Host, b.Port
	return c
}

func (s *groupService) findCoordinator(ctx context.Context, by *listener.Client, kind int8, key string) (endpoint, error) {
	switch kind {
	case groupCoordinator:
		if err := s.gate.group(by, toDescribe, key); err != nil {
			return endpoint{}, err
		}
	case transactionCoordinator:
		if err := s.gate.transactionalID(by, toDescribe, key); err != nil {
			return endpoint{}, err
		}
		return endpoint{}, coded(kerr.TransactionalIDAuthorizationFailed, "transactions are not supported yet")
	default:
		return endpoint{}, coded(kerr.InvalidRequest, "there are no coordinators of type %d", kind)
	}
	id, err := s.groups.Coordinator(ctx, key)
	if err != nil {
		return endpoint{}, err
	}
	if b, ok := s.endpoint(by, id); ok {
		return b, nil
	}
	return endpoint{}, fmt.Errorf("%w: no node leads the group's partition", coordinator.ErrUnavailable)
}
