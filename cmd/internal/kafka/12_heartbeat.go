package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// Heartbeat, key 12.
//
//	v1  throttle time
//	v3  static members (KIP-345)
//	v4  flexible
//
// While the coordinator is loading there is no session to end, and it answers
// success: Java clients give up at COORDINATOR_LOAD_IN_PROGRESS here.
func init() {
	register(listener.API{
		Key: kmsg.Heartbeat, Min: 0, Max: 4, MaxFrame: listener.PlainFrame,
		Shape: shape{str(), num(4), str(), str().From(3)},
	}, func(s *services) listener.Handler { return s.groups.beginHeartbeat })
}

func (s *groupService) beginHeartbeat(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.HeartbeatRequest)
	who := group.Identity{Group: req.Group, Member: req.MemberID, Instance: req.InstanceID, Generation: req.Generation}
	var result error
	err := s.ask(ctx, r.Client, toRead, req.Group, func(m *group.Machine, out coordinator.Out) { result = m.Heartbeat(out, who) })
	if err == nil {
		err = result
	}
	r.Go(func() {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = s.groupCode(whileLoading(s.confirmed(ctx, req.Group, err), nil), "Heartbeat")
		r.Reply(resp, resp.ErrorCode)
	})
}
