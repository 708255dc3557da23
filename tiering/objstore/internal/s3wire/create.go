package s3wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

func createSendsOnePut(t *testing.T, open Opener) {
	sendsOnePut(t, open, objstore.Plain)
}

// aSourceIsSentAsBytesAre has no chunks, no trailer, no parts and no second request.
func aSourceIsSentAsBytesAre(t *testing.T, open Opener) {
	sendsOnePut(t, open, func(data []byte) objstore.Body {
		return sourceOf(data, int64(len(data)))
	})
	s := NewStub(t, nil)
	CheckIs(t, open(t, s.Host(), "").Create(t.Context(), "a", sourceOf([]byte("cut"), 20<<20)), nil)
	if n := len(s.Sent("")); n > 1 {
		t.Errorf("a source that ends early: sent %d requests, want at most 1", n)
	}
}

// sourceOf is a file with data, of which its owner believes that it has length bytes.
func sourceOf(data []byte, length int64) objstore.Body {
	return objstore.Body{Source: bytes.NewReader(data), Length: length, CRC: objstore.Plain(data).Sum(), CRCKnown: true}
}

func sendsOnePut(t *testing.T, open Opener, lend func(data []byte) objstore.Body) {
	for _, size := range []int{0, 1, 64 << 10, 20 << 20} { // the last is beyond the SDK's multipart threshold
		s := NewStub(t, nil)
		data := bytes.Repeat([]byte("varve"), size/5+1)[:size]
		if err := open(t, s.Host(), "some/prefix").Create(t.Context(), "journals/1/2", lend(data)); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if len(s.Sent("")) != 1 {
			t.Fatalf("%d bytes: sent %d requests, want 1", size, len(s.Sent("")))
		}
		r := s.Sent("")[0]
		// The AWS SDK names the operation, for people who read the store's log.
		query := strings.TrimPrefix(r.URL.RawQuery, "x-id=PutObject")
		if r.Method != http.MethodPut || r.URL.Path != "/events/some/prefix/journals/1/2" || query != "" {
			t.Errorf("%d bytes: sent %s %s", size, r.Method, r.URL)
		}
		if r.Proto != "HTTP/1.1" || r.ContentLength != int64(size) || len(r.TransferEncoding) != 0 {
			t.Errorf("%d bytes: %s, content length %d, transfer encoding %q", size, r.Proto, r.ContentLength, r.TransferEncoding)
		}
		for name, want := range map[string]string{
			"If-None-Match":                "*",
			"X-Amz-Checksum-Crc32c":        checksum(data),
			"X-Amz-Content-Sha256":         "UNSIGNED-PAYLOAD",
			"Content-Length":               fmt.Sprint(size),
			"Content-Type":                 "application/octet-stream",
			"Expect":                       "",
			"Content-Encoding":             "",
			"Content-Md5":                  "",
			"Trailer":                      "",
			"X-Amz-Trailer":                "",
			"X-Amz-Checksum-Algorithm":     "",
			"X-Amz-Sdk-Checksum-Algorithm": "",
			"X-Amz-Decoded-Content-Length": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%d bytes: header %s is %q, want %q", size, name, got, want)
			}
		}
		// A proxy may change a header that is not signed.
		for _, name := range []string{"if-none-match", "x-amz-checksum-crc32c", "x-amz-content-sha256"} {
			if !bytes.Contains([]byte(r.Header.Get("Authorization")), []byte(name)) {
				t.Errorf("%d bytes: %s is not signed: %s", size, name, r.Header.Get("Authorization"))
			}
		}
		if got, _ := s.object(r.URL.Path); !bytes.Equal(got, data) {
			t.Errorf("%d bytes: stored %d other bytes", size, len(got))
		}
	}
}

func createIsSentOnce(t *testing.T, open Opener) {
	etag := map[string]string{"ETag": `"abc"`}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   error // nil: unknown
	}{
		{"connection dropped", hangUp, nil},
		{"500", replyS3(500, "InternalError"), nil},
		{"503", replyS3(503, "SlowDown"), nil},
		{"503 without a body", reply(503, nil, ""), nil},
		{"502 of a proxy", reply(502, nil, "<html>bad gateway</html>"), nil},
		{"408", replyS3(408, "RequestTimeout"), nil},
		{"429", replyS3(429, "TooManyRequests"), nil},
		{"400 expired token", replyS3(400, "ExpiredToken"), nil},
		{"304", reply(304, nil, ""), nil},
		{"307 elsewhere", reply(307, map[string]string{"Location": "/events/elsewhere"}, ""), nil},
		{"200 with an error body", reply(200, etag, "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>"), nil},
		{"200 without an ETag", reply(200, nil, ""), nil},
		{"200 of a proxy", reply(200, nil, "<html>please log in</html>"), nil},
		{"200 with another checksum", reply(200, map[string]string{"ETag": `"abc"`, "x-amz-checksum-crc32c": "AAAAAA=="}, ""), nil},
		{"200 with a broken body", reply(200, map[string]string{"ETag": `"abc"`, "Content-Length": "5"}, "1"), nil},
		{"202", reply(202, etag, ""), nil},
		{"202 with a page", reply(202, etag, "<html></html>"), nil},
		{"204", reply(204, etag, ""), nil},
		{"404 of a proxy", reply(404, nil, "<html>not found</html>"), nil},
		{"404 NoSuchBucket", replyS3(404, "NoSuchBucket"), objstore.ErrNoBucket},
		{"412", replyS3(412, "PreconditionFailed"), objstore.ErrExists},
		{"412 without a body", reply(412, nil, ""), objstore.ErrExists},
		{"409", replyS3(409, "ConditionalRequestConflict"), objstore.ErrConflict},
		{"403", replyS3(403, "AccessDenied"), objstore.ErrDenied},
		{"403 with a region", replyS3(403, "SignatureDoesNotMatch"), objstore.ErrDenied},
		{"401", replyS3(401, "Unauthorized"), objstore.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewStub(t, after(c.answer))
			err := open(t, s.Host(), "").Create(t.Context(), "journals/1/2", objstore.Plain([]byte("data")))
			CheckIs(t, err, c.want)
			if n := len(s.Sent(http.MethodPut)); n != 1 {
				t.Errorf("sent %d PUTs, want 1", n)
			}
			if n := len(s.Sent("")); n != 1 {
				t.Errorf("sent %d requests, want 1", n)
			}
			if _, ok := s.object("/events/journals/1/2"); !ok {
				t.Error("the stub did not store the object")
			}
		})
	}
}

func createOnAClosedConnection(t *testing.T, open Opener) {
	puts := 0
	s := NewStub(t, nil)
	s.answer = func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if puts++; puts == 1 {
			honest.ServeHTTP(w, r) // leaves an idle connection behind
			return
		}
		honest.ServeHTTP(discard{}, r)
		hangUp(w, r)
	}
	store := open(t, s.Host(), "")
	if err := store.Create(t.Context(), "a", objstore.Plain([]byte("1"))); err != nil {
		t.Fatal(err)
	}
	CheckIs(t, store.Create(t.Context(), "b", objstore.Plain([]byte("2"))), nil)
	if n := len(s.Sent(http.MethodPut)); n != 2 {
		t.Errorf("sent %d PUTs, want 2", n)
	}
}

func createReturnsWhenItsContextEnds(t *testing.T, open Opener) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := NewStub(t, after(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	err := open(t, s.Host(), "").Create(ctx, "a", objstore.Plain([]byte("1")))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context canceled", err)
	}
	CheckIs(t, err, nil)
	if n := len(s.Sent(http.MethodPut)); n != 1 {
		t.Errorf("sent %d PUTs, want 1", n)
	}
}

// A request without a body, and so a Create of nothing, is one that HTTP clients
// send again elsewhere by themselves.
func noRedirectIsFollowed(t *testing.T, open Opener) {
	elsewhere := reply(http.StatusTemporaryRedirect, map[string]string{"Location": "/events/elsewhere"}, "")
	for name, call := range map[string]func(s Store) error{
		"Create of nothing": func(s Store) error { return s.Create(t.Context(), "a", objstore.Plain(nil)) },
		"Get":               func(s Store) error { _, err := s.Get(t.Context(), "a"); return err },
	} {
		s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) { elsewhere(w, r) })
		CheckIs(t, call(open(t, s.Host(), "")), nil)
		if n := len(s.Sent("")); n != 1 {
			t.Errorf("%s: sent %d requests, want 1", name, n)
		}
	}
}
