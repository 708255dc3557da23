package kafka

import (
	"context"
	"errors"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// Envelope, key 58 (KIP-590): an administrative request of a client of another node, which is
// not the controller.
//
// Only nodes of the cluster may send it. The request inside is answered as if its client had
// sent it here, with its own principal and address.
func init() {
	register(listener.API{
		Key: kmsg.Envelope, Min: 0, Max: 0, Private: true, Peers: true,
		Shape: shape{raw(), raw(), raw()},
	}, func(s *services) listener.Handler { return s.peers.beginEnvelope })
}

func (s *peerService) beginEnvelope(ctx context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.EnvelopeRequest)
	if !s.control.Leads() {
		s.failEnvelope(r, kerr.NotController, nil)
		return
	}
	client, err := s.original(r.Client, req)
	if err != nil {
		s.failEnvelope(r, kerr.InvalidRequest, err)
		return
	}
	err = r.Inside(ctx, req.RequestData, client, func(answer []byte, code int16) {
		switch {
		case answer == nil:
			s.failEnvelope(r, kerr.UnknownServerError, nil)
			return
		case code == kerr.NotController.Code: // nothing was planned
			s.failEnvelope(r, kerr.NotController, nil)
			return
		}
		resp := kmsg.NewPtrEnvelopeResponse()
		resp.ResponseData = answer
		setSeq(resp, s.control.Head())
		r.Reply(resp, 0)
	})
	if err != nil {
		s.failEnvelope(r, kerr.InvalidRequest, err)
	}
}

// failEnvelope answers that the request inside was not answered. A reason is that of a bug, or
// of an attack, and is logged.
func (s *peerService) failEnvelope(r *listener.Request, code *kerr.Error, reason error) {
	if reason != nil {
		s.complaints.Warn("envelope", "a forwarded request was refused", append(r.Client.Logged("node"), "reason", reason)...)
	}
	resp := kmsg.NewPtrEnvelopeResponse()
	resp.ErrorCode = code.Code
	r.Reply(resp, resp.ErrorCode)
}

var errPrincipal = errors.New("principal or address of the client cannot be read")

// original is the client that sent the request first.
func (s *peerService) original(node *listener.Client, req *kmsg.EnvelopeRequest) (*listener.Client, error) {
	p, err := decodePrincipal(req.RequestPrincipal)
	if err != nil {
		return nil, err
	}
	if n := len(req.ClientHostAddress); n != net.IPv4len && n != net.IPv6len {
		return nil, errPrincipal
	}
	host := net.IP(req.ClientHostAddress).String()
	return &listener.Client{Principal: p, Address: host, Host: host, Listener: node.Listener}, nil
}

// encodePrincipal writes a principal as KIP-590 has it: the version, and the fields.
func encodePrincipal(p listener.Principal) []byte {
	d := kmsg.NewDefaultPrincipalData()
	d.Type, d.Name = p.Type, p.Name
	return d.AppendTo([]byte{0, 0})
}

func decodePrincipal(b []byte) (listener.Principal, error) {
	if len(b) < 2 || b[0] != 0 || b[1] != 0 {
		return listener.Principal{}, errPrincipal
	}
	var d kmsg.DefaultPrincipalData
	if err := d.ReadFrom(b[2:]); err != nil || d.Type == "" || d.Name == "" {
		return listener.Principal{}, errPrincipal
	}
	return listener.Principal{Type: d.Type, Name: d.Name}, nil
}
