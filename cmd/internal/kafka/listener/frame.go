package listener

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/varvelog/varve/tiering/buffer"
)

// Reasons for which the server closes a connection, as Metrics counts them.
var (
	errFrameSize   = errors.New("frame size out of range")
	errUnknownKey  = errors.New("unknown API key")
	errVersion     = errors.New("unsupported version")
	errIdle        = errors.New("idle")
	errSlow        = errors.New("frame not received in time")
	errTakesSlowly = errors.New("answer is taken too slowly for the memory it holds")
	errSlowReader  = errors.New("answer not read in time")
	errTooMany     = errors.New("too many connections: --max-connections are open")
	errTooManyIP   = errors.New("too many connections from one address: --max-connections-per-address are open")
	errNotPeer     = errors.New("request of a node, and the connection has not proved to be one")
	errNoMemory    = errors.New("no memory for the request")
	errHoldsMemory = errors.New("request arrives too slowly for the memory it holds")
	ErrStopping    = errors.New("server is stopping")
)

// frame is a request as it arrived: everything after the length.
type frame struct {
	api     *api
	version int16
	bytes   []byte
	memory  *buffer.Buffer // holds bytes, if the API is pooled
	charge  charge
	token   bool // of SASL, without a header
}

// The fixed part of a request header: API key, version, correlation id.
const headSize = 8

// readFrame waits for the next frame and reads it. Its memory is charged before
// it is allocated, and grows with the bytes that arrive, not with the announced
// size.
func (c *conn) readFrame(ctx context.Context) (frame, error) {
	if err := c.awaitFrame(); err != nil {
		return frame{}, err
	}
	c.account.came.Store(0)
	c.newInterval()
	if c.client().Tokens {
		return c.readToken(ctx)
	}
	var head [4 + 4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return frame{}, c.readError(err)
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if most := c.client().frameLimit(c.server.config.MaxRequestBytes); size < headSize || size > most {
		return frame{}, fmt.Errorf("%w: %d bytes announced, limit is %d%s", errFrameSize, size, most, guessProtocol(head[:]))
	}
	f := frame{version: int16(binary.BigEndian.Uint16(head[6:])), charge: charge{account: c.account}}
	var err error
	if f.api, err = c.server.apis.find(int16(binary.BigEndian.Uint16(head[4:])), f.version, c.client()); err != nil {
		return frame{}, err
	}
	if err := cmp.Or(c.mayAsk(f.api), c.client().check(f.api, c.server.now())); err != nil {
		return frame{}, err
	}
	if size > f.api.frameLimit(c.server.config.MaxRequestBytes) {
		return frame{}, fmt.Errorf("%w: %d bytes announced, limit of %s is %d", errFrameSize, size, f.api.name(), f.api.MaxFrame)
	}
	if err := c.readBody(ctx, &f, head[4:], int(size)); err != nil {
		f.memory.Release()
		f.charge.release()
		return frame{}, err
	}
	return f, nil
}

// guessProtocol names the protocol of a first frame that is not a Kafka
// request.
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
			return ErrStopping
		case c.window.idle() && time.Since(c.lastAnswer()) >= c.server.config.IdleTimeout:
			return errIdle
		}
	}
}

// readBody reads the rest of a frame.
func (c *conn) readBody(ctx context.Context, f *frame, begun []byte, size int) error {
	if size <= tinyFrame {
		return c.readTiny(ctx, f, begun, size)
	}
	first := min(tinyFrame, size-len(begun))
	if _, err := c.in.Peek(first); err != nil {
		return c.readError(err)
	}
	c.account.came.Store(int64(first))
	c.account.known = c.proven >= min(size, maxProven)
	c.account.begin()
	p := small
	if size > smallFrame {
		p = large
	}
	f.bytes = begun
	for len(f.bytes) < size {
		if len(f.bytes) == cap(f.bytes) || cap(f.bytes) < tinyFrame {
			if err := c.grow(ctx, f, p, size); err != nil {
				return err
			}
		}
		n, err := c.receive(f.bytes[len(f.bytes):cap(f.bytes)])
		f.bytes = f.bytes[:len(f.bytes)+n]
		if err != nil {
			return err
		}
		c.account.came.Store(int64(len(f.bytes)))
	}
	c.account.complete(p)
	c.proven = min(max(c.proven, size), maxProven)
	return nil
}

// readTiny reads a frame that the read buffer holds. However slowly it comes,
// it holds no memory before it is complete.
func (c *conn) readTiny(ctx context.Context, f *frame, begun []byte, size int) error {
	rest := size - len(begun)
	if _, err := c.in.Peek(rest); err != nil {
		return c.readError(err)
	}
	if err := f.charge.takeTiny(ctx, small, int64(size)); err != nil {
		return err
	}
	f.bytes = begun
	c.makeRoom(f, size)
	f.bytes = f.bytes[:size]
	_, err := io.ReadFull(c.in, f.bytes[len(begun):])
	return err
}

// grow takes the next step of memory for a frame, and makes room in it.
func (c *conn) grow(ctx context.Context, f *frame, p part, size int) error {
	taken := int(f.charge.taken[p])
	next := min(size, max(firstStep, 2*taken))
	arrived := max(len(f.bytes), tinyFrame)
	if size <= c.proven && (arrived >= size/provenShare || c.account.ample(p, int64(size-taken))) {
		next = size
	}
	if err := f.charge.takeStep(ctx, p, int64(next-taken), int64(size-taken)); err != nil {
		return err
	}
	c.newInterval()
	c.makeRoom(f, next)
	return nil
}

// makeRoom gives a frame memory for n bytes, and moves those that it has there. Pooled
// memory may have up to an eighth more bytes than are charged. Frames too large for a
// proven connection are rare, so the pool keeps no memory for them.
func (c *conn) makeRoom(f *frame, n int) {
	pool := c.server.memory
	if n > maxProven {
		pool = nil
	}
	var memory *buffer.Buffer
	var room []byte
	if f.api.Pooled {
		memory = pool.Get(n)
		room = memory.Bytes()[:0:n]
	} else {
		room = make([]byte, 0, n)
	}
	f.bytes = append(room, f.bytes...)
	f.memory.Release()
	f.memory = memory
}

// receive reads the bytes of a frame that have arrived. It waits for more as
// long as enough of the frame arrives in each interval of FrameGrace.
func (c *conn) receive(b []byte) (int, error) {
	for {
		n, err := c.in.Read(b)
		if n > 0 {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.draining.Load() || !c.advanced() {
			return 0, c.readError(err)
		}
	}
}

// newInterval begins an interval in which enough of a frame has to arrive.
func (c *conn) newInterval() {
	c.intervalFrom = c.account.came.Load()
	c.setReadDeadline(c.server.config.FrameGrace)
}

// advanced begins a new interval if enough has arrived in the last one.
func (c *conn) advanced() bool {
	if c.account.came.Load()-c.intervalFrom < c.server.leastIn(c.server.config.FrameGrace) {
		return false
	}
	c.newInterval()
	return true
}

// transferTime is how long n bytes take at the lowest rate allowed.
func (s *Server) transferTime(n int) time.Duration {
	return time.Duration(float64(n) / float64(s.config.MinReadRate) * float64(time.Second))
}

// leastIn returns how much of a frame has to arrive in a time.
func (s *Server) leastIn(d time.Duration) int64 {
	return int64(d.Seconds() * float64(s.config.MinReadRate))
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
		return ErrStopping
	}
	return errSlow
}
