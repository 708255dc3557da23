package kafka

import (
	"context"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
)

// PeerRegister, key 30003 of varve's own: a run of a node asks the controller to be registered.
//
// The controller dials its address first, so that the answer may take seconds. The run in the
// body must be the one that has proved itself on the connection. Keys of all roles may send it.
func init() {
	register(peerAPI(peer.KindRegister, true), func(s *services) listener.Handler { return s.peers.handler(anyKey, s.peers.registerNode) })
}

func (s *peerService) registerNode(_ context.Context, from listener.Peer, body []byte) (work, error) {
	run, err := membership.DecodeRegister(body, from.Node, from.Start)
	return func(ctx context.Context) ([]byte, error) {
		id, err := s.cluster.Register(ctx, from.Node, run)
		return membership.AppendRegistered(nil, id), err
	}, err
}
