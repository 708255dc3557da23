package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// PeerHello and PeerProof, keys 30001 and 30002 of varve's own.
//
// By them another node of the cluster proves itself on this connection; see
// metadata/peer. ApiVersions does not list them.
func init() {
	register(peerAPI(peer.KindHello, false), func(s *services) listener.Handler { return s.peers.beginHello })
	register(peerAPI(peer.KindProof, false), func(s *services) listener.Handler { return s.peers.beginProof })
}

// maxHandshake limits the frame of a handshake, in bytes.
const maxHandshake = 4 << 10

// peerAPI is a private request. Proved ones are only for nodes that have proved themselves.
func peerAPI(kind peer.Kind, proved bool) listener.API {
	a := listener.API{
		Key: kmsg.Key(kind), Name: kind.String(), MaxFrame: maxHandshake, Shape: shape{raw()}, Private: true, Peers: proved, BeforeAuthentication: !proved,
		Request: func() kmsg.Request { return &peer.Request{Kind: kind} },
	}
	if proved {
		a.MaxFrame = listener.PlainFrame
	}
	return a
}

// peerService is for other nodes of the cluster.
type peerService struct {
	codes
	*topology
	door    *peer.Door                   // nil: no node is let in
	cluster Cluster                      // nil: requests of nodes that are let in are refused
	gone    func(node, start segment.ID) // nil: the end of a connection is not reported
	control Control
}

var errNoDoor = errors.New("this node does not speak to others")

func (s *peerService) beginHello(ctx context.Context, r *listener.Request) {
	if s.door == nil {
		s.refuse(r, errNoDoor)
		return
	}
	answer, second, err := s.door.Hello(r.Body.(*peer.Request).Body)
	switch {
	case errors.Is(err, peer.ErrNoKey):
		r.Go(func() { // the key may be new: the node tries again
			ctx, cancel := context.WithTimeout(ctx, keysWait)
			defer cancel()
			s.refuse(r, errors.Join(err, s.door.Reload(ctx)))
		})
		return
	case err != nil:
		s.refuse(r, err)
		return
	}
	r.Show(func(c *listener.Client) { c.Handshake = answer })
	s.reply(r, second)
}

// keysWait limits how long keys are looked for in the store.
const keysWait = 2 * time.Second

func (s *peerService) beginProof(_ context.Context, r *listener.Request) {
	answer, begun := r.Client.Handshake.(*peer.Answer)
	if !begun {
		s.refuse(r, errNoHello)
		return
	}
	p, err := answer.Check(r.Body.(*peer.Request).Body)
	r.Show(func(c *listener.Client) { // one trial for each challenge
		if c.Handshake = nil; err == nil {
			c.Peer = listener.Peer{Node: p.Node, Start: p.Start, Reads: p.Key != segment.PeerIngest}
		}
	})
	if err != nil {
		s.refuse(r, err)
		return
	}
	s.reply(r, nil)
}

var errNoHello = errors.New("a proof without a hello")

func (s *peerService) reply(r *listener.Request, body []byte) {
	req := r.Body.(*peer.Request)
	r.Reply(&peer.Reply{Kind: req.Kind, Body: body}, 0)
}

// refuse answers with the reason why the other node is not let in.
func (s *peerService) refuse(r *listener.Request, err error) {
	s.complaints.Warn("peer", "a node was not let in", append(r.Client.Logged("client"), "reason", err)...)
	code := kerr.SaslAuthenticationFailed.Code
	if errors.Is(err, peer.ErrStranger) {
		code = peer.CodeStranger.Code
	}
	r.Reply(&peer.Reply{Kind: r.Body.(*peer.Request).Kind, Code: code, Text: err.Error()}, code)
}
