package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// DescribeCluster, key 60 (KIP-700).
//
//	v1  endpoint type (KIP-919)
//	v2  fenced brokers, if they are asked for (KIP-1073)
func init() {
	register(listener.API{
		Key: kmsg.DescribeCluster, Min: 0, Max: 2, MaxFrame: listener.PlainFrame,
		Shape: shape{num(1), num(1).From(1), num(1).From(2)},
	}, func(s *services) listener.Handler { return s.clusters.beginDescribeCluster })
}

// Endpoint types of KIP-919.
const brokerEndpoints = int8(1)

func (s *clusterService) beginDescribeCluster(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ControllerID = -1
	if r.Version >= 1 && req.EndpointType != brokerEndpoints {
		resp.ErrorCode = kerr.UnsupportedEndpointType.Code
		resp.ErrorMessage = kmsg.StringPtr("this is a broker; it supports only endpoint type 1, brokers")
		r.Reply(resp, resp.ErrorCode)
		return
	}
	s.asLeader(ctx, r, func() { s.describeCluster(r, resp) })
}

func (s *clusterService) describeCluster(r *listener.Request, resp *kmsg.DescribeClusterResponse) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp.ClusterID = s.clusterID
	resp.ClusterAuthorizedOperations = notAsked
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = s.gate.operationsOnCluster(r.Client)
	}
	resp.ControllerID = s.controller()
	brokers := s.endpoints(r.Client)
	if req.IncludeFencedBrokers {
		brokers = s.withFenced(r.Client)
	}
	for _, b := range brokers {
		out := kmsg.NewDescribeClusterResponseBroker()
		out.NodeID, out.Host, out.Port, out.Rack, out.IsFenced = b.id, b.Host, b.Port, b.rack, b.fenced
		resp.Brokers = append(resp.Brokers, out)
	}
	r.Reply(resp, 0)
}
