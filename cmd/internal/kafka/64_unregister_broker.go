package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
)

// UnregisterBroker, key 64 (KIP-500): removes a node for good. It must be drained or fenced,
// and lead nothing.
func init() {
	register(listener.API{
		Key: kmsg.UnregisterBroker, Min: 0, Max: 0, Forwarded: true, MaxFrame: listener.PlainFrame,
		Shape: shape{num(4)},
	}, func(s *services) listener.Handler { return s.clusters.beginUnregisterBroker })
}

func (s *clusterService) beginUnregisterBroker(ctx context.Context, r *listener.Request) {
	r.Go(func() {
		req := r.Body.(*kmsg.UnregisterBrokerRequest)
		ctx, cancel := context.WithTimeout(ctx, alterWait)
		defer cancel()
		err := s.gate.cluster(r.Client, toAlter)
		if err == nil {
			err = s.admin.SetNode(ctx, req.BrokerID, metadata.StateRemoved, false)
		}
		resp := kmsg.NewPtrUnregisterBrokerResponse()
		if err != nil {
			resp.ErrorCode, resp.ErrorMessage = s.codeFor(err, onAdmin, "UnregisterBroker"), kmsg.StringPtr(err.Error())
		}
		r.Reply(resp, resp.ErrorCode)
	})
}
