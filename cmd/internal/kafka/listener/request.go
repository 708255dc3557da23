package listener

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/buffer"
)

// Request is one request under way. Its handler answers it exactly once, with one of
// Reply, ReplyUnversioned, ReplyBuffers, ReplyNothing and HangUp.
type Request struct {
	Version int16
	Body    kmsg.Request // nil if the version is not served, which only ApiVersions gets
	Client  *Client      // the sender

	api         *api
	correlation int32
	conn        *conn
	received    time.Time
	size        int // bytes of the frame
	charge      charge
	memory      *buffer.Buffer      // holds the frame until the request is answered; see Memory
	giveBack    sync.Mutex          // guards the charge once the handler is called
	ready       chan answer         // capacity 1
	settled     chan struct{}       // closed once the answer is written or dropped
	before      chan struct{}       // settled of the request before on the connection; nil for the first
	done        func([]byte, int16) // of a request inside another one: takes the answer
	token       bool                // of SASL, without a header
	end         error               // closes the connection after the answer
}

// Received is when the request was read.
func (r *Request) Received() time.Time { return r.received }

// Introduce notes the client's software, for this request and those that follow. A
// handler may call it until it returns.
func (r *Request) Introduce(name, version string) {
	r.Show(func(c *Client) { c.SoftwareName, c.SoftwareVersion = name, version })
}

// Show changes the client of this request and of those that follow: it has shown more of
// itself. A handler may call it until it returns.
func (r *Request) Show(change func(c *Client)) {
	c := *r.Client
	change(&c)
	r.Client = &c
	if r.done == nil {
		r.conn.isNow(&c)
	}
}

// AtEnd has fn run once the connection has ended, unless the server stops before. The first fn
// of a connection counts. A handler may call it until it returns.
func (r *Request) AtEnd(fn func()) {
	if r.conn.atEnd == nil {
		r.conn.atEnd = fn
	}
}

// Go runs fn in a goroutine of the connection, which ends when fn has returned.
func (r *Request) Go(fn func()) { r.conn.wg.Go(fn) }

// Waits returns the context of requests that wait for an action of other
// clients. It ends with the connection, and when the server stops.
func (r *Request) Waits() context.Context { return r.conn.polls }

// MayEnd lets the server end the wait of a long poll while others lack memory:
// it calls end, which does not block. Nil means that the poll waits no more.
func (r *Request) MayEnd(end func()) { r.conn.account.polls(end) }

// FreeAnswers closes connections whose clients take their answers too slowly, until
// missing bytes are free. It is called while this answer lacks them.
func (r *Request) FreeAnswers(missing int64) { r.conn.server.budget.relieveSenders(missing) }

// AfterPrevious waits until the answer to the request before on the connection is
// written, or ctx ends.
func (r *Request) AfterPrevious(ctx context.Context) error {
	if r.before == nil {
		return nil
	}
	select {
	case <-r.before:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AwaitWritten waits until the answer is written or dropped.
func (r *Request) AwaitWritten() { <-r.settled }

// Memory holds the byte slices of Body, which decoding does not copy out of the frame. It
// is released with the answer: a handler that needs them for longer retains it before.
// Nil if frames of the API are not pooled.
func (r *Request) Memory() *buffer.Buffer { return r.memory }

// Forget drops the body and gives back the memory charged for the request,
// once. It is for requests that wait for long.
func (r *Request) Forget() {
	r.Body = nil
	r.release()
}

func (r *Request) release() {
	r.giveBack.Lock()
	defer r.giveBack.Unlock()
	r.charge.release()
}

// fit gives back the memory taken for an answer beyond the n bytes that it has:
// it may wait for the answers before it.
func (r *Request) fit(n int) {
	r.giveBack.Lock()
	defer r.giveBack.Unlock()
	r.charge.shrink(answers, int64(n))
}

// answer is the writer's task for a request.
type answer struct {
	buffers net.Buffers // the whole frame
	size    int
	code    int16
	hangUp  error // close the connection instead
}

// ErrUnacked closes the connection of a request with acks=0 that failed: there is no
// other way to report it.
var ErrUnacked = errors.New("request without acknowledgement failed")

// Reply answers with resp, which carries code as its first error.
func (r *Request) Reply(resp kmsg.Response, code int16) {
	resp.SetVersion(r.Version)
	r.ReplyUnversioned(resp, code)
}

// ReplyUnversioned answers with resp in the version it has.
func (r *Request) ReplyUnversioned(resp kmsg.Response, code int16) {
	dst := r.AppendHead(make([]byte, 0, 256), resp.IsFlexible())
	r.ReplyBuffers(net.Buffers{resp.AppendTo(dst)}, code)
}

// AppendHead appends space for the frame's length, and the response header. It
// is version 1, with tags, if the response is flexible. For ApiVersions it is
// always version 0: a client that does not know the version must be able to
// read that (KIP-511).
func (r *Request) AppendHead(dst []byte, flexible bool) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.correlation))
	if flexible && !r.api.isApiVersions() {
		dst = append(dst, 0)
	}
	return dst
}

// ReplyBuffers answers with a frame that AppendHead began, and fills in its
// length.
func (r *Request) ReplyBuffers(frame net.Buffers, code int16) {
	size := 0
	for _, b := range frame {
		size += len(b)
	}
	if size > maxAnswer {
		r.HangUp(fmt.Errorf("answer takes %d bytes, a frame holds %d", size, maxAnswer))
		return
	}
	binary.BigEndian.PutUint32(frame[0], uint32(size-4))
	r.finish(answer{buffers: frame, size: size, code: code})
}

// maxAnswer is the most a frame's length can announce, in bytes.
const maxAnswer = 1<<31 - 1

// ReplyNothing ends a request that needs no answer.
func (r *Request) ReplyNothing() { r.finish(answer{}) }

// EndAfter closes the connection once the answer is sent. A handler calls it before it answers.
func (r *Request) EndAfter(reason error) { r.end = reason }

// IsToken reports whether the request is a token of SASL without a header.
func (r *Request) IsToken() bool { return r.token }

// ReplyToken answers a token with one.
func (r *Request) ReplyToken(token []byte) {
	r.ReplyBuffers(net.Buffers{make([]byte, 4), token}, 0)
}

// HangUp closes the connection in place of an answer, after the answers before
// it.
func (r *Request) HangUp(err error) { r.finish(answer{hangUp: err}) }

// finish hands the answer to the connection's writer, or into the answer of the request
// around it. Every answer passes here, so this is the place to release the frame: a
// connection may end, and give back the charge, while a handler still reads it.
func (r *Request) finish(a answer) {
	if r.done != nil {
		r.release()
		r.done(a.joined(), a.code)
		return
	}
	r.memory.Release()
	r.api.note(a.size)
	r.fit(a.size)
	r.conn.window.finished(a.size)
	r.ready <- a
}
