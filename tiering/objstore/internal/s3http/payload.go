package s3http

import (
	"errors"
	"io"
	"sync"

	"github.com/varvelog/varve/tiering/objstore"
)

var errCutOff = errors.New("the PUT is over")

// payload is the body of a PUT, as an SDK and its transport read it. A transport may read
// a body after its request has ended: when the context ended, or when the answer came
// before the last byte was sent. cutOff ends that, so nothing depends on when the
// transport, or an SDK in front of it, closes the body. All bytes that anything sends
// are copies made by Read.
type payload struct {
	size int64
	mu   struct {
		sync.Mutex
		reader io.ReadSeeker
		end    error // of each Read after cutOff
	}
}

func newPayload(body objstore.Body) *payload {
	p := &payload{size: body.Size()}
	p.mu.reader = body.Reader()
	return p
}

// Read implements io.Reader.
func (p *payload) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.end != nil {
		return 0, p.mu.end
	}
	return p.mu.reader.Read(b)
}

// Seek implements io.Seeker.
func (p *payload) Seek(offset int64, whence int) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.end != nil {
		return 0, p.mu.end
	}
	return p.mu.reader.Seek(offset, whence)
}

// cutOff lets every later Read fail, and waits for one under way. A transport that has
// sent all bytes still finds the end, and keeps its connection.
func (p *payload) cutOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.end = errCutOff
	if at, err := p.mu.reader.Seek(0, io.SeekCurrent); err == nil && at >= p.size {
		p.mu.end = io.EOF
	}
	p.mu.reader = nil
}
