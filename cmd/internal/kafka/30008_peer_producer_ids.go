package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerProducerIDs, key 30008 of varve's own: a node asks the controller for a block of ids,
// which it gives to producers.
//
// Ids that are not used are lost, so nothing has to be known about the sender. Keys of all
// roles may send it: clients ask any node for an id.
func init() {
	register(peerAPI(peer.KindProducerIDs, true), func(s *services) listener.Handler { return s.peers.handler(anyKey, s.peers.producerIDs) })
}

func (s *peerService) producerIDs(_ context.Context, _ listener.Peer, _ []byte) (work, error) {
	return func(ctx context.Context) ([]byte, error) {
		ids, err := s.control.ProducerIDs(ctx)
		return membership.AppendProducerIDs(nil, ids), err
	}, nil // later versions may have a body
}
