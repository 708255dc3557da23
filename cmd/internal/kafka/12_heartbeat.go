package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/metadata/coordinator/group"
)

// Heartbeat, key 12.
//
//	v1  throttle time
//	v3  static members (KIP-345)
//	v4  flexible
//
// While the coordinator is loading there is no session to end, and all is said to be
// well: Java clients give up at COORDINATOR_LOAD_IN_PROGRESS here.
func init() {
	register(&api{
		key: kmsg.Heartbeat, min: 0, max: 4, maxFrame: plainFrame,
		request: shape{str(), num(4), str(), str().from(3)},
		begin:   (*Server).beginHeartbeat,
	})
}

func (s *Server) beginHeartbeat(ctx context.Context, r *request) {
	req := r.body.(*kmsg.HeartbeatRequest)
	who := group.Identity{Group: req.Group, Member: req.MemberID, Instance: req.InstanceID, Generation: req.Generation}
	var result error
	err := s.ask(ctx, req.Group, func(m *group.Machine, out coordinator.Out) { result = m.Heartbeat(out, who) })
	if err == nil {
		err = result
	}
	r.conn.wg.Go(func() {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = s.groupCode(whileLoading(s.confirmed(ctx, req.Group, err), nil), "Heartbeat")
		r.reply(resp, resp.ErrorCode)
	})
}
