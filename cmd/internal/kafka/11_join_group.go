package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// JoinGroup, key 11.
//
//	v1  rebalance time-out (KIP-62); before, it is the session time-out
//	v2  throttle time
//	v4  new members are asked to join again with an assigned id (KIP-394)
//	v5  static members (KIP-345)
//	v6  flexible
//	v7  protocol type and name in answers, which may be null (KIP-559)
//	v8  reason (KIP-800), ignored
//	v9  an answer can ask a static leader to skip the assignment (KIP-814)
//
// The answer waits for the other members: up to the largest rebalance time-out.
func init() {
	register(listener.API{
		Key: kmsg.JoinGroup, Min: 0, Max: 9,
		Shape: shape{
			str(), num(4), num(4).From(1), str(), str().From(5), str(),
			listOf(sizeOf[kmsg.JoinGroupRequestProtocol](), str(), raw()),
			str().From(8),
		},
	}, func(s *services) listener.Handler { return s.groups.beginJoinGroup })
}

// The first versions of JoinGroup with these features.
const (
	joinRebalanceTimeout = 1
	joinNeedsID          = 4
	joinNullProtocol     = 7
	joinSkipAssignment   = 9
)

func (s *groupService) beginJoinGroup(ctx context.Context, r *listener.Request) {
	body := r.Body.(*kmsg.JoinGroupRequest)
	reply := func(a group.JoinAnswer) { s.replyJoin(r, a) }
	bytes := 0
	for _, p := range body.Protocols {
		bytes = max(bytes, len(p.Metadata))
	}
	if err := tooLarge(bytes); err != nil {
		reply(group.JoinAnswer{Err: err, Member: body.MemberID})
		return
	}
	req := joinRequest(r, body)
	refused := func(err error) group.JoinAnswer { return group.JoinAnswer{Err: err, Member: req.Member} }
	p := park(r, func() { reply(refused(errCoordinatorDrains)) })
	err := s.ask(ctx, r.Client, toRead, req.Group, func(m *group.Machine, out coordinator.Out) {
		m.Join(out, req, func(a group.JoinAnswer) { p.answer(func() { reply(a) }) })
	})
	if err != nil {
		p.answer(func() { reply(refused(err)) })
	}
}

func joinRequest(r *listener.Request, body *kmsg.JoinGroupRequest) group.JoinRequest {
	ms := func(n int32) time.Duration { return time.Duration(n) * time.Millisecond }
	req := group.JoinRequest{
		Group: body.Group, Member: body.MemberID, Instance: body.InstanceID, ClientID: r.Client.ID, ClientHost: hostOf(r),
		ProtocolType: body.ProtocolType, Session: ms(body.SessionTimeoutMillis), Rebalance: ms(body.RebalanceTimeoutMillis),
		NeedsID: r.Version >= joinNeedsID, KnowsSkip: r.Version >= joinSkipAssignment,
	}
	if r.Version < joinRebalanceTimeout {
		req.Rebalance = req.Session
	}
	for _, p := range body.Protocols {
		req.Protocols = append(req.Protocols, group.Protocol{Name: p.Name, Metadata: apart(p.Metadata)})
	}
	return req
}

func (s *groupService) replyJoin(r *listener.Request, a group.JoinAnswer) {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode, resp.MemberID = s.groupCode(a.Err, "JoinGroup"), a.Member
	if a.Err != nil {
		resp.Generation = -1
		if r.Version < joinNullProtocol {
			resp.Protocol = kmsg.StringPtr("")
		}
		r.Reply(resp, resp.ErrorCode)
		return
	}
	resp.Generation, resp.ProtocolType, resp.Protocol = a.Generation, &a.ProtocolType, a.Protocol
	resp.LeaderID, resp.SkipAssignment = a.Leader, a.SkipAssignment
	for _, member := range a.Members {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.InstanceID, m.ProtocolMetadata = member.Member, member.Instance, apart(member.Metadata)
		resp.Members = append(resp.Members, m)
	}
	r.Reply(resp, 0)
}
