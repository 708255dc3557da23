package listener

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Inside begins a request that lies in the body of this one (KIP-590): data is its header and
// body. The client is the one that sent it first. Its handler answers it as any other, and
// done is called once with the answer, from its correlation id on, and its first error code;
// nil if there is none.
// Only keys that are forwarded can be inside.
//
// The memory of decoding is charged to the connection until done is called.
func (r *Request) Inside(ctx context.Context, data []byte, client *Client, done func(answer []byte, code int16)) error {
	if len(data) < headSize {
		return fmt.Errorf("%w: a request of %d bytes inside another one", ErrMalformed, len(data))
	}
	version := int16(binary.BigEndian.Uint16(data[2:]))
	a, err := r.conn.server.apis.find(int16(binary.BigEndian.Uint16(data)), version, client)
	switch {
	case err != nil:
		return err
	case !a.Forwarded:
		return fmt.Errorf("%w: %s is not forwarded", errUnknownKey, a.name())
	}
	inner := &Request{
		Version: version, Client: client, api: a, conn: r.conn, received: r.received, size: len(data),
		charge: charge{account: r.conn.account}, settled: r.settled, done: done,
	}
	if err := inner.parse(ctx, data); err != nil {
		inner.charge.release()
		return err
	}
	a.Begin(ctx, inner)
	return nil
}

// IsInside reports whether the request lies in the body of another one.
func (r *Request) IsInside() bool { return r.done != nil }

// Data returns the request as it lies inside another one: header and body.
func (r *Request) Data() []byte {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(r.Client.ID))
	return f.AppendRequest(nil, r.Body, r.correlation)[4:]
}

// ReplyData answers with the answer to Data, from its correlation id on.
func (r *Request) ReplyData(data []byte, code int16) error {
	if len(data) < 4 || int32(binary.BigEndian.Uint32(data)) != r.correlation {
		return fmt.Errorf("%w: the answer to another request", ErrMalformed)
	}
	r.ReplyBuffers(net.Buffers{make([]byte, 4), data}, code)
	return nil
}

// joined returns the answer to a request inside another one.
func (a answer) joined() []byte {
	if a.hangUp != nil || a.size == 0 {
		return nil
	}
	all := make([]byte, 0, a.size)
	for _, b := range a.buffers {
		all = append(all, b...)
	}
	return all[4:]
}
