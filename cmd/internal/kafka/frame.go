package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reasons for which the server closes a connection, as Metrics counts them.
var (
	errFrameSize  = errors.New("frame size out of range")
	errUnknownKey = errors.New("unknown API key")
	errVersion    = errors.New("unsupported version")
	errIdle       = errors.New("idle")
	errSlow       = errors.New("frame not received in time")
	errSlowReader = errors.New("answer not read in time")
	errTooMany    = errors.New("too many connections")
	errTooManyIP  = errors.New("too many connections from one address")
	errNoMemory   = errors.New("no request memory to be had")
	errDraining   = errors.New("server is stopping")
)

// frame is a request as it came: everything after the length.
type frame struct {
	api     *api
	version int16
	bytes   []byte
	charge  charge
}

// The fixed part of a request header: API key, version, correlation id.
const headSize = 8

// readFrame waits for the next frame and reads it. The memory it takes is
// charged before it is allocated, and grows with what has arrived.
func (c *conn) readFrame(ctx context.Context) (frame, error) {
	if err := c.awaitFrame(); err != nil {
		return frame{}, err
	}
	c.setReadDeadline(c.server.config.FrameGrace)
	var head [4 + 4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return frame{}, c.readError(err)
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < headSize || size > c.server.config.MaxRequestBytes {
		return frame{}, fmt.Errorf("%w: %d bytes announced, limit is %d%s", errFrameSize, size, c.server.config.MaxRequestBytes, guessProtocol(head[:]))
	}
	f := frame{version: int16(binary.BigEndian.Uint16(head[6:])), charge: charge{from: c.server.budget}}
	key := int16(binary.BigEndian.Uint16(head[4:]))
	f.api = apis[key]
	switch {
	case f.api == nil:
		return frame{}, fmt.Errorf("%w: %d (%s)", errUnknownKey, key, kmsg.NameForKey(key))
	case !f.api.supports(f.version) && !f.api.isApiVersions():
		return frame{}, fmt.Errorf("%w: %s v%d, supported are %d to %d", errVersion, f.api.key.Name(), f.version, f.api.min, f.api.max)
	case size > f.api.frameLimit(c.server.config.MaxRequestBytes):
		return frame{}, fmt.Errorf("%w: %d bytes announced, limit of %s is %d", errFrameSize, size, f.api.key.Name(), f.api.maxFrame)
	}
	if err := c.readBody(ctx, &f, head[4:], int(size)); err != nil {
		f.charge.release()
		return frame{}, err
	}
	return f, nil
}

// guessProtocol names what a first frame looks like that is no Kafka request.
func guessProtocol(head []byte) string {
	switch {
	case head[0] == 0x16 && head[1] == 0x03:
		return "; this looks like TLS, which is not enabled here"
	case string(head[:4]) == "GET " || string(head[:4]) == "POST":
		return "; this looks like HTTP"
	}
	return ""
}

// awaitFrame waits for the first byte of a frame. A connection is idle only if
// nothing is under way on it: a long poll is not cut.
func (c *conn) awaitFrame() error {
	for {
		c.setReadDeadline(c.server.config.IdleTimeout)
		_, err := c.in.Peek(1)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case c.draining.Load():
			return errDraining
		case c.window.idle() && time.Since(c.lastAnswer()) >= c.server.config.IdleTimeout:
			return errIdle
		}
	}
}

func (c *conn) readBody(ctx context.Context, f *frame, begun []byte, size int) error {
	if err := f.charge.takeSmall(ctx, int64(min(size, smallFrame))); err != nil {
		return err
	}
	room := min(size, firstChunk)
	if size <= c.proven {
		if err := takeRest(ctx, f, size); err != nil {
			return err
		}
		room = size
	}
	c.setReadDeadline(c.server.config.FrameGrace + c.server.transferTime(int64(size)))
	f.bytes = append(make([]byte, 0, room), begun...)
	for {
		n, err := io.ReadFull(c.in, f.bytes[len(f.bytes):cap(f.bytes)])
		f.bytes = f.bytes[:len(f.bytes)+n]
		if err != nil {
			return c.readError(err)
		}
		if len(f.bytes) == size {
			c.proven = min(max(c.proven, size), maxProven)
			return nil
		}
		if len(f.bytes) >= smallFrame && f.charge.large == 0 {
			if err := takeRest(ctx, f, size); err != nil {
				return err
			}
			c.setReadDeadline(c.server.config.FrameGrace + c.server.transferTime(int64(size)))
		}
		grown := make([]byte, len(f.bytes), min(size, 2*cap(f.bytes)))
		copy(grown, f.bytes)
		f.bytes = grown
	}
}

// takeRest charges what of a frame is beyond smallFrame.
func takeRest(ctx context.Context, f *frame, size int) error {
	if size <= smallFrame {
		return nil
	}
	return f.charge.takeLarge(ctx, int64(size-smallFrame))
}

// transferTime is how long n bytes take at the lowest rate allowed.
func (s *Server) transferTime(n int64) time.Duration {
	return time.Duration(float64(n) / float64(s.config.MinReadRate) * float64(time.Second))
}

// setReadDeadline gives reads d from now, or none if the server is draining.
func (c *conn) setReadDeadline(d time.Duration) {
	c.nc.SetReadDeadline(time.Now().Add(d))
	if c.draining.Load() { // drain may have set its deadline just before
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *conn) readError(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if c.draining.Load() {
		return errDraining
	}
	return errSlow
}

// decode turns a frame into a request, which takes over the frame's charge.
func (c *conn) decode(ctx context.Context, f *frame) (*request, error) {
	r := &request{
		api: f.api, version: f.version, conn: c, received: c.server.backend.Now(), size: len(f.bytes) + 4,
		ready: make(chan answer, 1), settled: make(chan struct{}),
	}
	r.correlation = int32(binary.BigEndian.Uint32(f.bytes[4:]))
	if !f.api.supports(f.version) {
		r.charge = f.charge // ApiVersions: the body of a version we do not know is not read
		return r, nil
	}
	r.body = f.api.key.Request()
	r.body.SetVersion(f.version)
	body, err := r.header(f.bytes[headSize:])
	if err != nil {
		return nil, err
	}
	cost, err := f.api.request.cost(body, f.version, r.body.IsFlexible())
	if err != nil {
		return nil, fmt.Errorf("%s v%d: %w", f.api.key.Name(), f.version, err)
	}
	if err := f.charge.takeDecode(ctx, min(cost, f.charge.from.sizes.decode)); err != nil {
		return nil, err
	}
	if err := readRequest(r.body, body); err != nil {
		return nil, fmt.Errorf("%s v%d: %w: %w", f.api.key.Name(), f.version, errMalformed, err)
	}
	r.charge = f.charge
	return r, nil
}

// header reads the rest of the request header, version 1 or, with tags, 2
// (KIP-482), and returns what follows it.
func (r *request) header(b []byte) ([]byte, error) {
	w := walker{b: b}
	n, err := w.length(2)
	if err != nil {
		return nil, fmt.Errorf("client id: %w", err)
	}
	if n > int64(len(w.b)) {
		return nil, fmt.Errorf("client id: %w", errMalformed)
	}
	r.client = string(w.b[:n])
	w.b = w.b[n:]
	if r.body.IsFlexible() {
		if err := w.tags(nil); err != nil {
			return nil, fmt.Errorf("request header: %w", err)
		}
	}
	return w.b, nil
}

// readRequest decodes body. The decoder is not ours and reads what strangers
// send: should it panic, that is one bad request, not our end.
func readRequest(r kmsg.Request, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder panicked: %v", p)
		}
	}()
	return r.ReadFrom(body)
}
