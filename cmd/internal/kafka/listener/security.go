package listener

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Security is how clients of an endpoint show who they are. The zero value is Kafka's
// PLAINTEXT: all are anonymous.
type Security struct {
	// TLS encrypts connections. It is asked at each handshake, so that certificates can
	// change. Nil: they are not encrypted.
	TLS func() *tls.Config
	// Principal is the identity of a client after a handshake of TLS, from its certificate
	// if it showed one. Nil: all are anonymous.
	Principal func(tls.ConnectionState) (Principal, error)
	// SASL says that clients have to authenticate by requests. Until then only those of
	// BeforeAuthentication are served, and small ones.
	SASL bool
}

// Limits of clients that have not authenticated.
const (
	// authenticationTime limits how long a client may take to authenticate, TLS included.
	authenticationTime = 10 * time.Second
	// unauthenticatedFrame limits a frame, in bytes.
	unauthenticatedFrame = 64 << 10
)

// Reasons for which the server closes a connection.
var (
	errTLS            = errors.New("TLS handshake failed")
	errNotInTime      = fmt.Errorf("not authenticated within %v", authenticationTime)
	errAuthentication = errors.New("a request before authentication")
	errSession        = errors.New("the session has ended and was not authenticated again (connections.max.reauth.ms)")
	errRevoked        = errors.New("the user was deleted")
	// ErrAuthentication closes a connection whose client has failed to authenticate.
	ErrAuthentication = errors.New("authentication failed")
)

// authenticates reports whether clients have to do something before they are served.
func (s Security) authenticates() bool { return s.SASL || s.TLS != nil }

// Session is an authentication that ends.
type Session struct {
	Ends time.Time // zero: it does not
	// Revoked reports whether it has ended early. It is asked at each request, and does not
	// block. Nil: it never does.
	Revoked func() bool
}

// check returns why a client may not send a request of a key.
func (c *Client) check(a *api, now time.Time) error {
	switch {
	case a.BeforeAuthentication || a.Peers:
		return nil
	case c.Awaited:
		return fmt.Errorf("%w: %s", errAuthentication, a.name())
	case !c.Session.Ends.IsZero() && !now.Before(c.Session.Ends):
		return errSession
	case c.Session.Revoked != nil && c.Session.Revoked():
		return errRevoked
	}
	return nil
}

// unknown reports whether the client has shown nothing yet, though it has to.
func (c *Client) unknown() bool { return c.Awaited && c.Peer == (Peer{}) }

// frameLimit limits a frame of a client.
func (c *Client) frameLimit(most int32) int32 {
	if c.unknown() {
		return min(most, unauthenticatedFrame)
	}
	return most
}

// secure does the handshake of TLS. The client is known by its certificate from then on.
func (c *conn) secure() error {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, authenticationTime)
	defer cancel()
	if err := t.HandshakeContext(ctx); c.draining.Load() {
		return ErrStopping
	} else if err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	client := *c.client()
	client.Awaited = client.SASL
	if c.security.Principal != nil && !client.SASL {
		p, err := c.security.Principal(t.ConnectionState())
		if err != nil {
			return fmt.Errorf("%w: %w", errTLS, err)
		}
		client.Principal = p
	}
	c.isNow(&client)
	return nil
}

// paced is a connection below TLS. It counts the bytes that the client takes, while a write
// is under way: a write of TLS cannot be interrupted and go on.
type paced struct {
	net.Conn
	end  atomic.Int64  // of writes, Unix nanoseconds; 0: none
	sent *atomic.Int64 // bytes
}

// SetWriteDeadline sets the end of a write that may take several deadlines.
func (p *paced) SetWriteDeadline(t time.Time) error {
	p.end.Store(t.UnixNano())
	return nil
}

// SetDeadline is for the handshake, which TLS ends by it.
func (p *paced) SetDeadline(t time.Time) error {
	return errors.Join(p.Conn.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// Write writes all of b before the end that was set.
func (p *paced) Write(b []byte) (all int, err error) {
	var end time.Time
	if at := p.end.Load(); at != 0 {
		end = time.Unix(0, at)
	}
	err = pace(p.Conn, end, p.sent, func() (int64, error) {
		n, err := p.Conn.Write(b[all:])
		all += n
		return int64(n), err
	})
	return all, err
}

// pace calls write, which goes on where it was interrupted, until all is written or the end has
// come; zero for none. After each sendLook it counts the bytes that the client has taken.
func pace(nc net.Conn, end time.Time, sent *atomic.Int64, write func() (int64, error)) error {
	for {
		until := time.Now().Add(sendLook)
		last := !end.IsZero() && !until.Before(end)
		if last {
			until = end
		}
		_ = nc.SetWriteDeadline(until) // a closed connection fails the write
		n, err := write()
		sent.Add(n)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || last {
			return err
		}
	}
}

// readToken reads a frame that is a token of SASL (version 0 of SaslHandshake). It is served as
// a SaslAuthenticate.
func (c *conn) readToken(ctx context.Context) (frame, error) {
	a := c.server.apis[kmsg.SASLAuthenticate.Int16()]
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return frame{}, c.readError(err)
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if a == nil || size < 0 || size > tinyFrame-len(head) {
		return frame{}, fmt.Errorf("%w: a SASL token of %d bytes, limit is %d", errFrameSize, size, tinyFrame-len(head))
	}
	f := frame{api: a, token: true, charge: charge{account: c.account}}
	if err := c.readTiny(ctx, &f, nil, size); err != nil {
		f.charge.release()
		return frame{}, err
	}
	return f, nil
}
