package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is one request under way. It is answered exactly once, by one of
// reply, replyBuffers, replyNothing and hangUp.
type request struct {
	api         *api
	version     int16
	correlation int32
	client      string // the client id
	body        kmsg.Request
	conn        *conn
	received    time.Time
	size        int // bytes of the frame
	charge      charge
	giveBack    sync.Mutex    // guards the charge from begin on
	ready       chan answer   // capacity 1
	settled     chan struct{} // closed once the answer is written or dropped
	before      chan struct{} // settled of the request before on the connection; nil for the first
}

// release gives back the memory the request was charged for, once.
func (r *request) release() {
	r.giveBack.Lock()
	defer r.giveBack.Unlock()
	r.charge.release()
}

// fit gives back what was taken for an answer and is more than the n bytes that it has:
// it may wait for the answers before it.
func (r *request) fit(n int) {
	r.giveBack.Lock()
	defer r.giveBack.Unlock()
	r.charge.shrink(answers, int64(n))
}

// answer is what the writer does for a request.
type answer struct {
	buffers net.Buffers // the whole frame
	size    int
	code    int16
	hangUp  error // close the connection instead
}

// errUnacked closes the connection of a request with acks=0 that failed: no
// other way is left to tell.
var errUnacked = errors.New("request without acknowledgement failed")

// reply answers with resp, which carries code as its first error.
func (r *request) reply(resp kmsg.Response, code int16) {
	resp.SetVersion(r.version)
	r.replyUnversioned(resp, code)
}

// replyUnversioned answers with resp in the version it has.
func (r *request) replyUnversioned(resp kmsg.Response, code int16) {
	dst := r.appendHead(make([]byte, 0, 256), resp.IsFlexible())
	r.replyBuffers(net.Buffers{resp.AppendTo(dst)}, code)
}

// appendHead appends room for the frame's length, and the response header. It
// is version 1, with tags, if the response is flexible, but always version 0
// for ApiVersions: a client that does not know the version must be able to read
// that (KIP-511).
func (r *request) appendHead(dst []byte, flexible bool) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.correlation))
	if flexible && !r.api.isApiVersions() {
		dst = append(dst, 0)
	}
	return dst
}

// replyBuffers answers with a frame that appendHead began; its length is filled in.
func (r *request) replyBuffers(frame net.Buffers, code int16) {
	size := 0
	for _, b := range frame {
		size += len(b)
	}
	if size > maxAnswer {
		r.hangUp(fmt.Errorf("answer takes %d bytes, a frame holds %d", size, maxAnswer))
		return
	}
	binary.BigEndian.PutUint32(frame[0], uint32(size-4))
	r.finish(answer{buffers: frame, size: size, code: code})
}

// maxAnswer is the most a frame's length can announce, in bytes.
const maxAnswer = 1<<31 - 1

// replyNothing ends a request that asked for no answer.
func (r *request) replyNothing() { r.finish(answer{}) }

// hangUp closes the connection in place of an answer, after the answers before it.
func (r *request) hangUp(err error) { r.finish(answer{hangUp: err}) }

func (r *request) finish(a answer) {
	r.api.note(a.size)
	r.fit(a.size)
	r.conn.window.finished(a.size)
	r.ready <- a
}
