package s3http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// lateReader is a client whose transport reads the body of a PUT as net/http may: on
// another goroutine, and after the request is over.
type lateReader struct {
	Client
	early int           // bytes read before Put returns
	gate  chan struct{} // the transport waits for it
	read  chan []byte   // the bytes that it read
	end   chan error    // and how that ended
}

func (c *lateReader) Put(_ context.Context, _ string, body io.ReadSeeker, _ int64, _ string) (string, string, error) {
	first := make([]byte, c.early)
	if _, err := io.ReadFull(body, first); err != nil {
		return "", "", err
	}
	go func() {
		<-c.gate
		rest, err := io.ReadAll(body)
		if _, err := body.Seek(0, io.SeekStart); err == nil {
			err = errors.New("could seek")
		}
		c.read <- append(first, rest...)
		c.end <- err
	}()
	return `"etag"`, "", nil
}

func (c *lateReader) Answer(error) Answer { return Answer{} }

func TestATransportThatReadsTooLateGetsNoReleasedBytes(t *testing.T) {
	data := []byte("bytes that their owner overwrites")
	for _, early := range []int{0, 5, len(data), -1, -6, -len(data)} { // less than 0: of a source
		streamed := early < 0
		early = max(early, -early)
		c := &lateReader{early: early, gate: make(chan struct{}), read: make(chan []byte, 1), end: make(chan error, 1)}
		s, err := Open(Config{Bucket: "b"}, func(http.RoundTripper, http.RoundTripper) (Client, string, error) { return c, "", nil })
		if err != nil {
			t.Fatal(err)
		}
		memory := bytes.Clone(data)
		body := objstore.Plain(memory)
		if streamed {
			body = objstore.Body{Source: bytes.NewReader(memory), Length: int64(len(memory)), CRC: body.Sum(), CRCKnown: true}
		}
		var releases atomic.Int32
		body.Release = func() { releases.Add(1); clear(memory) }
		if err := s.Create(t.Context(), "k", body); err != nil {
			t.Error(err)
		}
		close(c.gate)
		if got := <-c.read; !bytes.Equal(got, data[:early]) {
			t.Errorf("after %d bytes: read %q", early, got)
		}
		// A transport that has sent everything must find the end, or it closes its connection.
		if err := <-c.end; (err == nil) != (early == len(data)) {
			t.Errorf("after %d bytes: error %v", early, err)
		}
		if n := releases.Load(); n != 1 {
			t.Errorf("released %d times", n)
		}
	}
}
