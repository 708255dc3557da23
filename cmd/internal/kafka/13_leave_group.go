package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// LeaveGroup, key 13.
//
//	v1  throttle time
//	v3  many members, by id or instance id (KIP-345)
//	v4  flexible
//	v5  reason (KIP-800), ignored
func init() {
	register(listener.API{
		Key: kmsg.LeaveGroup, Min: 0, Max: 5,
		Shape: shape{
			str(), str().To(2),
			listOf(sizeOf[kmsg.LeaveGroupRequestMember](), str(), str(), str().From(5)).From(3),
		},
	}, func(s *services) listener.Handler { return s.groups.beginLeaveGroup })
}

const leaveMany = 3 // the first version in which many may leave

func (s *groupService) beginLeaveGroup(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.LeaveGroupRequest)
	var leavers []group.Leaver
	if r.Version < leaveMany {
		leavers = []group.Leaver{{Member: req.MemberID}}
	}
	for _, m := range req.Members {
		leavers = append(leavers, group.Leaver{Member: m.MemberID, Instance: m.InstanceID})
	}
	var each []error
	var all error
	if err := s.ask(ctx, r.Client, toRead, req.Group, func(m *group.Machine, out coordinator.Out) {
		each, all = m.Leave(out, req.Group, leavers)
	}); err != nil {
		all = err
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	var code firstCode
	resp.ErrorCode = code.note(s.groupCode(all, "LeaveGroup"))
	if all == nil {
		for i, l := range leavers {
			m := kmsg.NewLeaveGroupResponseMember()
			m.MemberID, m.InstanceID = l.Member, l.Instance
			m.ErrorCode = code.note(s.groupCode(each[i], "LeaveGroup"))
			resp.Members = append(resp.Members, m)
		}
		if r.Version < leaveMany {
			resp.ErrorCode = int16(code)
		}
	}
	r.Reply(resp, int16(code))
}
