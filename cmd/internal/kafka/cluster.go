package kafka

import (
	"context"
	"errors"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// Cluster answers the other nodes of the cluster. The senders have proved themselves, and their
// messages are well-formed. Each call returns when the answer is there, or ctx ends.
type Cluster interface {
	// Register registers a run, and returns its broker id.
	Register(ctx context.Context, node segment.ID, run metadata.Run) (int32, error)
	// Heartbeat takes the report of a node.
	Heartbeat(ctx context.Context, h membership.Heartbeat) (membership.Answer, error)
	// Question answers about the controller.
	Question(ctx context.Context, about membership.Leader) (membership.Reply, error)
	// Probe reports whether this node can write to the store.
	Probe(ctx context.Context) (bool, error)
	// HandOver answers a node that is to lead a journal of this one.
	HandOver(ctx context.Context, from segment.ID, want membership.HandOver) (membership.Handing, error)
}

var (
	errNoCluster = errors.New("this node takes part in no cluster of several nodes")
	errReads     = errors.New("a node that has proved only that it may read sends this")
)

// Which keys may send a request.
const (
	anyKey    = true
	ingestKey = false
)

// work makes the body of an answer. It may take its time.
type work func(ctx context.Context) ([]byte, error)

// handler answers requests of other nodes. read reads a body, before anything else is done.
func (s *peerService) handler(reads bool, read func(ctx context.Context, from listener.Peer, body []byte) (work, error)) listener.Handler {
	return func(ctx context.Context, r *listener.Request) {
		if s.cluster == nil {
			s.fail(r, errNoCluster)
			return
		}
		if r.Client.Peer.Reads && !reads {
			s.fail(r, errReads)
			return
		}
		answer, err := read(ctx, r.Client.Peer, r.Body.(*peer.Request).Body)
		if err != nil {
			s.fail(r, err)
			return
		}
		r.Go(func() {
			body, err := answer(ctx)
			if err != nil {
				s.fail(r, err)
				return
			}
			s.reply(r, body)
		})
	}
}

// fail answers another node with an error, and its text.
func (s *peerService) fail(r *listener.Request, err error) {
	kind := r.Body.(*peer.Request).Kind
	code := s.codeFor(err, onPeers, kind.String())
	r.Reply(&peer.Reply{Kind: kind, Code: code, Text: err.Error()}, code)
}
