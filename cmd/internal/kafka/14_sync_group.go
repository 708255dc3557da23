package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// SyncGroup, key 14.
//
//	v1  throttle time
//	v3  static members (KIP-345)
//	v4  flexible
//	v5  protocol type and name, checked and answered (KIP-559)
//
// The answer waits for the leader's assignment, and for its commit. A
// coordinator that is loading has forgotten the rebalance, and lets members
// join again, as Kafka does: Java clients give up at
// COORDINATOR_LOAD_IN_PROGRESS here.
func init() {
	register(listener.API{
		Key: kmsg.SyncGroup, Min: 0, Max: 5,
		Shape: shape{
			str(), num(4), str(), str().From(3), str().From(5), str().From(5),
			listOf(sizeOf[kmsg.SyncGroupRequestGroupAssignment](), str(), raw()),
		},
	}, func(s *services) listener.Handler { return s.groups.beginSyncGroup })
}

func (s *groupService) beginSyncGroup(ctx context.Context, r *listener.Request) {
	body := r.Body.(*kmsg.SyncGroupRequest)
	bytes := 0
	for _, a := range body.GroupAssignment {
		bytes += len(a.MemberAssignment)
	}
	if err := tooLarge(bytes); err != nil {
		s.replySync(r, group.SyncAnswer{Err: err})
		return
	}
	req := group.SyncRequest{
		Group: body.Group, Member: body.MemberID, Instance: body.InstanceID, Generation: body.Generation,
		ProtocolType: body.ProtocolType, Protocol: body.Protocol, Assignments: map[string][]byte{},
	}
	for _, a := range body.GroupAssignment {
		req.Assignments[a.MemberID] = apart(a.MemberAssignment)
	}
	p := park(r, func() { s.replySync(r, group.SyncAnswer{Err: errCoordinatorDrains}) })
	err := s.ask(ctx, r.Client, toRead, req.Group, func(m *group.Machine, out coordinator.Out) {
		m.Sync(out, req, func(a group.SyncAnswer) { p.answer(func() { s.replySync(r, a) }) })
	})
	if err != nil {
		p.answer(func() { s.replySync(r, group.SyncAnswer{Err: err}) })
	}
}

func (s *groupService) replySync(r *listener.Request, a group.SyncAnswer) {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = s.groupCode(whileLoading(a.Err, group.ErrRebalance), "SyncGroup")
	resp.MemberAssignment = apart(a.Assignment)
	if a.Err == nil {
		resp.ProtocolType, resp.Protocol = &a.ProtocolType, a.Protocol
	}
	r.Reply(resp, resp.ErrorCode)
}
