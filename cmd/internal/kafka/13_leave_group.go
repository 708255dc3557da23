package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

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
	register(&api{
		key: kmsg.LeaveGroup, min: 0, max: 5,
		request: shape{
			str(), str().to(2),
			listOf(sizeOf[kmsg.LeaveGroupRequestMember](), str(), str(), str().from(5)).from(3),
		},
		begin: (*Server).beginLeaveGroup,
	})
}

const leaveMany = 3 // the first version in which many may leave

func (s *Server) beginLeaveGroup(ctx context.Context, r *request) {
	req := r.body.(*kmsg.LeaveGroupRequest)
	var leavers []group.Leaver
	if r.version < leaveMany {
		leavers = []group.Leaver{{Member: req.MemberID}}
	}
	for _, m := range req.Members {
		leavers = append(leavers, group.Leaver{Member: m.MemberID, Instance: m.InstanceID})
	}
	var each []error
	var all error
	if err := s.ask(ctx, req.Group, func(m *group.Machine, out coordinator.Out) {
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
		if r.version < leaveMany {
			resp.ErrorCode = int16(code)
		}
	}
	r.reply(resp, int16(code))
}
