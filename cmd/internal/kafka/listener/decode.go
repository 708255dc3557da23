package listener

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// decode turns a frame into a request, which takes over the frame's memory and charge
// even if there is an error.
func (c *conn) decode(ctx context.Context, f *frame) (*Request, error) {
	r := &Request{
		Version: f.version, Client: c.client(), api: f.api, conn: c, received: c.server.now(), size: len(f.bytes) + 4,
		charge: f.charge, memory: f.memory, ready: make(chan answer, 1), settled: make(chan struct{}),
	}
	if f.token {
		r.Body, r.token = &kmsg.SASLAuthenticateRequest{SASLAuthBytes: f.bytes}, true
		return r, nil
	}
	err := r.parse(ctx, f.bytes)
	if r.Client != c.client() {
		c.isNow(r.Client)
	}
	return r, err
}

// parse reads header and body, and charges the request for the memory of the body
// before it decodes it. It leaves out the body of a version that is not served.
// It does not need a connection: a request inside another one (KIP-590) can be
// parsed like this too.
func (r *Request) parse(ctx context.Context, b []byte) error {
	r.correlation = int32(binary.BigEndian.Uint32(b[4:]))
	if !r.api.Supports(r.Version) {
		return nil
	}
	r.Body = r.api.request()
	r.Body.SetVersion(r.Version)
	body, err := r.header(b[headSize:])
	if err != nil {
		return err
	}
	cost, err := r.api.Shape.Cost(body, r.Version, r.Body.IsFlexible())
	if err != nil {
		return fmt.Errorf("%s v%d: %w", r.api.name(), r.Version, err)
	}
	if err := r.charge.takeDecoded(ctx, cost); err != nil {
		return err
	}
	if err := readRequest(r.Body, body); err != nil {
		return fmt.Errorf("%s v%d: %w: %w", r.api.name(), r.Version, ErrMalformed, err)
	}
	return nil
}

// header reads the rest of the request header, version 1 or, with tags, 2
// (KIP-482). It returns the body that follows.
func (r *Request) header(b []byte) (body []byte, err error) {
	w := walker{b: b}
	n, err := w.length(2)
	if err != nil {
		return nil, fmt.Errorf("client id: %w", err)
	}
	if n > int64(len(w.b)) {
		return nil, fmt.Errorf("client id: %w", ErrMalformed)
	}
	if id := w.b[:n]; string(id) != r.Client.ID {
		client := *r.Client
		client.ID = string(id)
		r.Client = &client
	}
	w.b = w.b[n:]
	if r.Body.IsFlexible() {
		if err := w.tags(nil); err != nil {
			return nil, fmt.Errorf("request header: %w", err)
		}
	}
	return w.b, nil
}

// readRequest decodes body. The decoder is foreign code and reads input of
// unknown clients: if it panics, that is one bad request and must not end the
// process.
func readRequest(r kmsg.Request, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder panicked: %v", p)
		}
	}()
	return r.ReadFrom(body)
}
