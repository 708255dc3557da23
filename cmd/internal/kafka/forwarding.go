package kafka

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// forwardLimit limits how long the controller may take to answer a forwarded request.
const forwardLimit = 30 * time.Second

// orForward returns a handler that forwards requests to the controller while that is another
// node. here answers them if it is this one, and failed if the controller does not answer.
func (s *services) orForward(here, failed listener.Handler) listener.Handler {
	return func(ctx context.Context, r *listener.Request) {
		if s.forward == nil || s.topology.controller() == s.topology.nodeID() {
			here(ctx, r)
			return
		}
		r.Go(func() {
			if !s.forwarded(ctx, r) {
				failed(ctx, r)
			}
		})
	}
}

// forwarded reports whether the controller has answered. After false the outcome is unknown.
func (s *services) forwarded(ctx context.Context, r *listener.Request) bool {
	ctx, cancel := context.WithTimeout(ctx, forwardLimit)
	defer cancel()
	req := kmsg.NewPtrEnvelopeRequest()
	req.RequestData, req.RequestPrincipal, req.ClientHostAddress = r.Data(), encodePrincipal(r.Client.Principal), addressOf(r.Client.Host)
	resp, err := s.forward(ctx, req)
	if err == nil {
		err = r.ReplyData(resp.ResponseData, resp.ErrorCode)
	}
	if err != nil {
		s.peers.complaints.Warn("forward", "the controller did not answer a forwarded request; the client is asked to try again", "error", err)
	}
	return err == nil
}

// addressOf is the address of a client as KIP-590 has it.
func addressOf(host string) []byte {
	ip := net.ParseIP(host)
	if four := ip.To4(); four != nil {
		return four
	}
	return ip
}

// unavailable is the Admin of a node that has asked the controller in vain.
type unavailable struct{}

func (unavailable) CreateTopics(_ context.Context, topics []metadata.NewTopic, _ bool) []metadata.CreateResult {
	return slices.Repeat([]metadata.CreateResult{{Err: metadata.ErrUnavailable}}, len(topics))
}

func (unavailable) DeleteTopics(_ context.Context, ids []segment.ID) []error {
	return slices.Repeat([]error{metadata.ErrUnavailable}, len(ids))
}

func (unavailable) RestoreTopics(_ context.Context, ids []segment.ID) []error {
	return slices.Repeat([]error{metadata.ErrUnavailable}, len(ids))
}

func (unavailable) Raise(context.Context, uint16, bool) error { return metadata.ErrUnavailable }

func (unavailable) SetNode(context.Context, int32, metadata.NodeState, bool) error {
	return metadata.ErrUnavailable
}

func (unavailable) GrowTo(context.Context, uint32, bool) error { return metadata.ErrUnavailable }

func (unavailable) CreatePartitions(_ context.Context, more []metadata.NewPartitions, _ bool) []error {
	return slices.Repeat([]error{metadata.ErrUnavailable}, len(more))
}

func (unavailable) AlterConfigs(_ context.Context, changes []metadata.ConfigChange, _ bool) []error {
	return slices.Repeat([]error{metadata.ErrUnavailable}, len(changes))
}

func (unavailable) NextProducerID(context.Context) (int64, error) { return 0, metadata.ErrUnavailable }
