package s3wire

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// largeSize is more than the sockets and buffers between a client and a server hold.
const largeSize = 12 << 20

// bytesStayUntilReleased has a store that reads the body of a PUT only after Create has
// returned, and an owner of the bytes that overwrites them at their release. The store
// may get fewer bytes then, but no others.
func bytesStayUntilReleased(t *testing.T, open Opener) {
	for name, early := range map[string]bool{"the context ends": false, "the answer comes first": true} {
		t.Run(name, func(t *testing.T) {
			arrived, gate, read := make(chan struct{}), make(chan struct{}), make(chan []byte, 1)
			s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if early {
					answerBeforeTheBody(w)
				}
				close(arrived)
				<-gate
				got, _ := io.ReadAll(r.Body) // the client may be gone
				read <- got
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !early {
				go func() { <-arrived; cancel() }()
			}
			want := bytes.Repeat([]byte{0x55}, largeSize)
			body, released := objstore.Plain(bytes.Clone(want)), make(chan struct{})
			other := bytes.Repeat([]byte{0xdb}, largeSize)
			var releases atomic.Int32
			body.Release = func() {
				copy(body.Bytes, other)
				if releases.Add(1) == 1 {
					close(released)
				}
			}
			CheckIs(t, open(t, s.Host(), "").Create(ctx, "a", body), nil)
			<-released
			close(gate)
			if got := <-read; !bytes.HasPrefix(want, got) {
				t.Errorf("the store read %d bytes, and some are not those of Create", len(got))
			}
			if n := releases.Load(); n != 1 {
				t.Errorf("released %d times", n)
			}
		})
	}
}

// answerBeforeTheBody sends a whole answer, before the handler has read anything or
// returned.
func answerBeforeTheBody(w http.ResponseWriter) {
	const text = "<Error><Code>SlowDown</Code></Error>"
	http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusServiceUnavailable)
	io.WriteString(w, text)
	http.NewResponseController(w).Flush()
}

// wrongChecksumIsRefused shows that a known CRC is sent, and not computed again.
func wrongChecksumIsRefused(t *testing.T, open Opener) {
	s := NewStub(t, nil)
	body := objstore.Plain([]byte("data"))
	body.CRC, body.CRCKnown = body.Sum()+1, true
	CheckIs(t, open(t, s.Host(), "").Create(t.Context(), "a", body), nil)
	if _, ok := s.object("/events/a"); ok {
		t.Error("stored bytes that have another checksum")
	}
}

// rangeLeavesItsMemory has a store that sends the second half of a range after the
// caller has given up and uses the memory for something else.
func rangeLeavesItsMemory(t *testing.T, open Opener) {
	half, gate, sent := make([]byte, 1<<20), make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	s := NewStub(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		defer close(sent)
		w.Header().Set("Content-Range", "bytes 0-2097151/2097152")
		w.Header().Set("Content-Length", "2097152")
		w.Header().Set("ETag", `"abc"`)
		w.Header().Set("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(half)
		http.NewResponseController(w).Flush()
		cancel()
		<-gate
		w.Write(half) // the client may be gone
	})
	dst := make([]byte, 2*len(half))
	CheckIs(t, open(t, s.Host(), "").GetRange(ctx, "a", 0, dst), nil)
	want := bytes.Repeat([]byte{0xdb}, len(dst))
	copy(dst, want)
	close(gate)
	<-sent
	if !bytes.Equal(dst, want) {
		t.Error("memory was written after GetRange returned")
	}
}
