package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerHeartbeat, key 30004 of varve's own: a node's report to the controller, every half second.
//
// Keys of all roles may send it. A node that only reads leads nothing, so its report of
// journals must be empty.
func init() {
	register(peerAPI(peer.KindHeartbeat, true), func(s *services) listener.Handler {
		return s.peers.missed(s.peers.handler(anyKey, s.peers.heartbeat))
	})
}

// missed reports the end of the connection that a request comes on: that of the heartbeats of a
// node.
func (s *peerService) missed(next listener.Handler) listener.Handler {
	return func(ctx context.Context, r *listener.Request) {
		if p := r.Client.Peer; s.gone != nil {
			r.AtEnd(func() { s.gone(p.Node, p.Start) })
		}
		next(ctx, r)
	}
}

func (s *peerService) heartbeat(_ context.Context, from listener.Peer, body []byte) (work, error) {
	h, err := membership.DecodeHeartbeat(body, from.Node, from.Start)
	if err == nil && from.Reads && len(h.Journals) > 0 {
		err = errReads
	}
	return func(ctx context.Context) ([]byte, error) {
		a, err := s.cluster.Heartbeat(ctx, h)
		return a.Append(nil), err
	}, err
}
