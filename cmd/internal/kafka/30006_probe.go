package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerProbe, key 30006 of varve's own: the controller asks whether this node can write to the
// store.
//
// Only nodes with the key of the role ingest may send it: each costs a write.
func init() {
	register(peerAPI(peer.KindProbe, true), func(s *services) listener.Handler { return s.peers.handler(ingestKey, s.peers.probe) })
}

func (s *peerService) probe(_ context.Context, _ listener.Peer, body []byte) (work, error) {
	return func(ctx context.Context) ([]byte, error) {
		ok, err := s.cluster.Probe(ctx)
		return membership.AppendProbed(nil, ok), err
	}, nil // later versions may have a body
}
