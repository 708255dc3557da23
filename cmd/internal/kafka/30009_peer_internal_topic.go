package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerInternalTopic, key 30009 of varve's own: a node asks the controller to create a topic
// that the cluster keeps for itself, which clients may not create.
//
// A topic that exists already is an answer without an error. Keys of all roles may send it:
// clients ask any node for the coordinator of a group.
func init() {
	register(peerAPI(peer.KindInternalTopic, true), func(s *services) listener.Handler { return s.peers.handler(anyKey, s.peers.internalTopic) })
}

func (s *peerService) internalTopic(_ context.Context, _ listener.Peer, body []byte) (work, error) {
	name, err := membership.DecodeInternalTopic(body)
	return func(ctx context.Context) ([]byte, error) {
		err := s.control.CreateInternal(ctx, name)
		return membership.AppendSeq(nil, s.control.Head()), err
	}, err
}
