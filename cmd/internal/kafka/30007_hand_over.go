package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerHandOver, key 30007 of varve's own: a node to which a journal is assigned asks its leader
// to end.
//
// Only nodes with the key of the role ingest may send it: others lead nothing.
func init() {
	register(peerAPI(peer.KindHandOver, true), func(s *services) listener.Handler { return s.peers.handler(ingestKey, s.peers.handOver) })
}

func (s *peerService) handOver(_ context.Context, from listener.Peer, body []byte) (work, error) {
	want, err := membership.DecodeHandOver(body)
	return func(ctx context.Context) ([]byte, error) {
		h, err := s.cluster.HandOver(ctx, from.Node, want)
		return h.Append(nil), err
	}, err
}
