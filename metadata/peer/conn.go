package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/segment"
)

// Conn is a connection to another node, on which both ends have proved themselves. It carries
// one request at a time. After any error it is closed: whether the request had an effect is
// not known, unless the error is ErrEnded.
type Conn struct {
	peer   Peer
	nc     net.Conn
	closed atomic.Bool // by Close

	mu     sync.Mutex
	in     *bufio.Reader
	format *kmsg.RequestFormatter
	last   int32  // correlation id
	most   int64  // bytes of an answer
	watch  *watch // nil: none
}

// ErrEnded: the connection had ended before the request was sent.
var ErrEnded = errors.New("the other node has closed the connection")

// Dialer connects to other nodes. All fields are required.
type Dialer struct {
	Self   Identity
	Key    func() (segment.PeerKey, error) // the newest
	Random io.Reader
	Dial   func(ctx context.Context, address string) (net.Conn, error)
}

// software is the client id of nodes.
const software = "varve-node"

// To connects to a node, and returns once both ends have proved themselves. expects is the
// node that is to answer; zero for any. An answer of another node is ErrStranger, one
// without the key is ErrProof.
func (d *Dialer) To(ctx context.Context, address string, expects segment.ID) (c *Conn, err error) {
	key, err := d.Key()
	if err != nil {
		return nil, err
	}
	var nonce [NonceSize]byte
	if _, err := io.ReadFull(d.Random, nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	nc, err := d.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c = &Conn{nc: nc, in: bufio.NewReader(nc), format: kmsg.NewRequestFormatter(kmsg.FormatterClientID(software)), most: maxRefusal}
	if err := c.prove(ctx, d.Self, key, expects, nonce); err != nil {
		return nil, errors.Join(fmt.Errorf("node at %s: %w", address, err), c.Close())
	}
	return c, nil
}

func (c *Conn) prove(ctx context.Context, self Identity, key segment.PeerKey, expects segment.ID, nonce [NonceSize]byte) error {
	call, first := NewCall(self, key, expects, nonce)
	answer, err := c.Ask(ctx, KindHello, first)
	if err != nil {
		return strange(err)
	}
	last, p, err := call.Check(answer, nil)
	if err != nil {
		return err
	}
	if _, err := c.Ask(ctx, KindProof, last); err != nil {
		return err
	}
	c.peer, c.most = p, MaxAnswer
	return nil
}

// maxRefusal is the largest answer that is read of an end that has not proved itself, in bytes.
const maxRefusal = 2 * maxText

// CodeStranger answers a first message that is meant for another cluster or node. All other
// refusals of a handshake are kerr.SaslAuthenticationFailed: the key is not known there, or
// not proved.
var CodeStranger = kerr.InconsistentClusterID

func strange(err error) error {
	if errors.Is(err, CodeStranger) {
		return fmt.Errorf("%w: %w", ErrStranger, err)
	}
	return err
}

// Peer is the node at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// Ask sends a private request, and returns the body of the answer. An answer with a code is
// an error that is the one of kerr.
func (c *Conn) Ask(ctx context.Context, kind Kind, body []byte) ([]byte, error) {
	resp, err := c.Request(ctx, &Request{Kind: kind, Body: body})
	if err != nil {
		return nil, err
	}
	reply := resp.(*Reply)
	return reply.Body, reply.Err()
}

// Request sends a request and waits for its answer, until ctx ends.
func (c *Conn) Request(ctx context.Context, req kmsg.Request) (resp kmsg.Response, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.unwatch(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err() // the deadline may be in force
		}
		if err != nil {
			err = errors.Join(err, ctx.Err())
			_ = c.nc.Close()
		}
	}()
	c.last++
	if _, err := c.nc.Write(c.format.AppendRequest(nil, req, c.last)); err != nil {
		return nil, fmt.Errorf("send to a node: %w", err)
	}
	b, err := c.frame(req)
	if err != nil {
		return nil, fmt.Errorf("read from a node: %w", err)
	}
	resp = req.ResponseKind()
	if err := resp.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return resp, nil
}

// frame reads the answer to a request, without its header.
func (c *Conn) frame(req kmsg.Request) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	size, id := int64(int32(binary.BigEndian.Uint32(head[:])))-4, int32(binary.BigEndian.Uint32(head[4:]))
	if size < 0 || size > c.most || id != c.last {
		return nil, fmt.Errorf("%w: an answer of %d bytes to request %d, not %d", ErrMalformed, size, id, c.last)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	if resp := req.ResponseKind(); resp.IsFlexible() {
		if len(b) == 0 || b[0] != 0 {
			return nil, fmt.Errorf("%w: tags in the header of an answer", ErrMalformed)
		}
		b = b[1:]
	}
	return b, nil
}
