package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerQuestion, key 30005 of varve's own: a node that has lost its controller asks the others.
//
// Only nodes with the key of the role ingest may send it: others never stand.
func init() {
	register(peerAPI(peer.KindQuestion, true), func(s *services) listener.Handler { return s.peers.handler(ingestKey, s.peers.question) })
}

func (s *peerService) question(_ context.Context, _ listener.Peer, body []byte) (work, error) {
	about, err := membership.DecodeQuestion(body)
	return func(ctx context.Context) ([]byte, error) {
		p, err := s.cluster.Question(ctx, about)
		return p.Append(nil), err
	}, err
}
