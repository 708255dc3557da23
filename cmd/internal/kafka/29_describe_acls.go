package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// DescribeAcls, key 29 (KIP-140).
//
//	v1  pattern type (KIP-290)
//	v2  flexible
//	v3  user resources
//
// There is no authorizer. Kafka answers that with SECURITY_DISABLED, which
// means to MirrorMaker that there is nothing to copy.
func init() {
	register(listener.API{
		Key: kmsg.DescribeACLs, Min: 1, Max: 3, MaxFrame: listener.PlainFrame,
		Shape: shape{num(1), str(), num(1), str(), str(), num(1), num(1)},
	}, func(s *services) listener.Handler { return s.clusters.beginDescribeACLs })
}

func (s *clusterService) beginDescribeACLs(_ context.Context, r *listener.Request) {
	resp := kmsg.NewPtrDescribeACLsResponse()
	if err := s.gate.cluster(r.Client, toDescribe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = s.codeFor(err, onAdmin, "DescribeAcls"), kmsg.StringPtr(err.Error())
		r.Reply(resp, resp.ErrorCode)
		return
	}
	resp.ErrorCode = kerr.SecurityDisabled.Code
	resp.ErrorMessage = kmsg.StringPtr("there is no authorizer: every client may do everything")
	r.Reply(resp, resp.ErrorCode)
}
