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
// There are no coordinators yet, and every key is refused with a code that
// clients take as final. The key is advertised all the same: librdkafka before
// 2.11.1 takes its absence for a broker that does not know lz4, and sends what
// should be compressed with it as it is (rdkafka_feature.c).
func init() {
	register(api{
		key: kmsg.FindCoordinator, min: 0, max: 5, maxFrame: plainFrame,
		request: shape{str().to(3), num(1).from(1), strs().from(4)},
		begin:   (*Server).beginFindCoordinator,
	})
}

const coordinatorKeys = 4 // the first version that asks for many

func (s *Server) beginFindCoordinator(_ context.Context, r *request) {
	req := r.body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewPtrFindCoordinatorResponse()
	code := kerr.UnsupportedVersion.Code
	why := kmsg.StringPtr("consumer groups and transactions are not supported yet")
	s.complaint.warn("coordinator", "refused to name a coordinator: consumer groups and transactions are not supported yet",
		"client", r.conn.addr)
	if r.version < coordinatorKeys {
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Port = code, why, -1, -1
		r.reply(resp, code)
		return
	}
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port, c.ErrorCode, c.ErrorMessage = key, -1, -1, code, why
		resp.Coordinators = append(resp.Coordinators, c)
	}
	r.reply(resp, code)
}
