package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/kafka/listener"
)

// SaslAuthenticate, key 36 (KIP-152).
//
//	v1  the answer says how long the session lasts (KIP-368)
//	v2  flexible
func init() {
	register(listener.API{
		Key: kmsg.SASLAuthenticate, Min: 0, Max: 2, MaxFrame: listener.PlainFrame, BeforeAuthentication: true,
		Shape: shape{raw()},
	}, func(s *services) listener.Handler { return s.access.beginAuthenticate })
}

// failedDelay is how long the answer to a failed authentication takes at least, as Kafka's
// connection.failed.authentication.delay.ms. Nothing else is read from the connection then.
const failedDelay = 100 * time.Millisecond

func (s *accessService) beginAuthenticate(ctx context.Context, r *listener.Request) {
	under, begun := r.Client.Handshake.(authentication)
	if !begun {
		s.failAuthenticate(r, kerr.IllegalSaslState, "SaslHandshake comes first")
		return
	}
	answer, done, err := under.exchange.Step(ctx, r.Body.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
	if before := r.Client.Principal; done && !r.Client.Awaited && before != userPrincipal(under.exchange.User()) {
		done, err = false, fmt.Errorf("the session of %s cannot become one of user %.100q", before, under.exchange.User())
	}
	if err != nil {
		s.refused(r, err)
		r.Show(func(c *listener.Client) { c.Handshake = nil })
		select {
		case <-time.After(failedDelay):
		case <-ctx.Done():
		}
		s.failAuthenticate(r, kerr.SaslAuthenticationFailed,
			fmt.Sprintf("Authentication failed during authentication due to invalid credentials with SASL mechanism %s", under.mechanism))
		return
	}
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SASLAuthBytes = answer
	if done {
		resp.SessionLifetimeMillis = s.access.MaxReauth.Milliseconds()
		r.Show(func(c *listener.Client) { s.authenticated(c, under) })
	}
	if r.IsToken() {
		r.ReplyToken(answer)
		return
	}
	r.Reply(resp, 0)
}

func userPrincipal(name string) listener.Principal {
	return listener.Principal{Type: "User", Name: name}
}

// authenticated makes a client the user that it has shown to be.
func (s *accessService) authenticated(c *listener.Client, by authentication) {
	c.Principal, c.Awaited, c.Tokens, c.Handshake = userPrincipal(by.exchange.User()), false, false, nil
	c.Session = listener.Session{Revoked: func() bool { return !by.exchange.Exists() }}
	if s.access.MaxReauth > 0 {
		c.Session.Ends = s.now().Add(s.access.MaxReauth)
	}
}

func (s *accessService) failAuthenticate(r *listener.Request, code *kerr.Error, text string) {
	if r.IsToken() {
		r.HangUp(listener.ErrAuthentication)
		return
	}
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(text)
	r.EndAfter(listener.ErrAuthentication)
	r.Reply(resp, resp.ErrorCode)
}

// refused logs why a client is not let in. The client does not learn that.
func (s *accessService) refused(r *listener.Request, reason error) {
	s.complaints.Warn("authentication", "a client was not let in", append(r.Client.Logged("client"), "reason", reason)...)
}
