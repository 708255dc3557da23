package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeAcls, key 29 (KIP-140).
//
//	v1  pattern type (KIP-290)
//	v2  flexible
//	v3  user resources
//
// There is no authorizer. Kafka says so with SECURITY_DISABLED, which MirrorMaker
// takes to mean that there is nothing to copy.
func init() {
	register(&api{
		key: kmsg.DescribeACLs, min: 1, max: 3, maxFrame: plainFrame,
		request: shape{num(1), str(), num(1), str(), str(), num(1), num(1)},
		begin:   (*Server).beginDescribeACLs,
	})
}

func (s *Server) beginDescribeACLs(_ context.Context, r *request) {
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode = kerr.SecurityDisabled.Code
	resp.ErrorMessage = kmsg.StringPtr("there is no authorizer: every client may do everything")
	r.reply(resp, resp.ErrorCode)
}
