package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
	"github.com/varvelog/varve/cmd/internal/kafka/sasl"
)

// SaslHandshake, key 17 (KIP-43).
//
//	v1  the messages of the mechanism are those of SaslAuthenticate (KIP-152);
//	    after v0 they come without headers
func init() {
	register(listener.API{
		Key: kmsg.SASLHandshake, Min: 0, Max: 1, MaxFrame: listener.PlainFrame, BeforeAuthentication: true,
		Shape: shape{str()},
	}, func(s *services) listener.Handler { return s.access.beginHandshake })
}

func (s *accessService) beginHandshake(_ context.Context, r *listener.Request) {
	req := r.Body.(*kmsg.SASLHandshakeRequest)
	resp := kmsg.NewPtrSASLHandshakeResponse()
	fail := func(code *kerr.Error) {
		resp.ErrorCode = code.Code
		r.EndAfter(listener.ErrAuthentication)
		r.Reply(resp, resp.ErrorCode)
	}
	if s.access.SASL == nil || !r.Client.SASL {
		fail(kerr.IllegalSaslState)
		return
	}
	resp.SupportedMechanisms = s.access.SASL.Enabled()
	exchange, err := s.access.SASL.Begin(req.Mechanism)
	if err != nil {
		s.refused(r, err)
		fail(kerr.UnsupportedSaslMechanism)
		return
	}
	r.Show(func(c *listener.Client) {
		c.Handshake, c.Tokens = authentication{req.Mechanism, exchange}, r.Version == 0
	})
	r.Reply(resp, 0)
}

// authentication is the state of a client between SaslHandshake and the end of the exchange.
type authentication struct {
	mechanism string
	exchange  sasl.Exchange
}
