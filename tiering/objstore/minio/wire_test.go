package minio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/minio"
)

func TestCreateSendsOneConditionalUnsignedChecksummedPut(t *testing.T) {
	for _, size := range []int{0, 1, 64 << 10, 20 << 20} { // the last is beyond the SDK's multipart threshold
		s := newStub(t, nil)
		data := bytes.Repeat([]byte("varve"), size/5+1)[:size]
		if err := s.open(t, "some/prefix").Create(t.Context(), "journals/1/2", data); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if len(s.requests) != 1 {
			t.Fatalf("%d bytes: sent %d requests, want 1", size, len(s.requests))
		}
		r := s.requests[0]
		if r.Method != http.MethodPut || r.URL.Path != "/events/some/prefix/journals/1/2" || r.URL.RawQuery != "" {
			t.Errorf("%d bytes: sent %s %s", size, r.Method, r.URL)
		}
		if r.Proto != "HTTP/1.1" || r.ContentLength != int64(size) || len(r.TransferEncoding) != 0 {
			t.Errorf("%d bytes: %s, content length %d, transfer encoding %q", size, r.Proto, r.ContentLength, r.TransferEncoding)
		}
		for name, want := range map[string]string{
			"If-None-Match":                "*",
			"X-Amz-Checksum-Crc32c":        crc32c(data),
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
		// What is not signed, a proxy may change.
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

// after returns an answerer that lets PUTs have their effect and then answers
// with other.
func after(other http.HandlerFunc) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if r.Method == http.MethodPut {
			honest.ServeHTTP(discard{}, r)
			other(w, r)
			return
		}
		honest.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that nobody reads.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func reply(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func replyS3(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { s3Error(w, status, code) }
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

var sentinels = []error{
	objstore.ErrNotFound, objstore.ErrExists, objstore.ErrConflict,
	objstore.ErrDenied, objstore.ErrNoBucket, objstore.ErrRange,
}

// checkIs fails the test unless err is an error that is want and no other
// sentinel; a nil want stands for an error that is unknown.
func checkIs(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatal("success, want an error")
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) != (sentinel == want) {
			t.Errorf("error %q, want %v", err, want)
		}
	}
}

func TestCreateIsSentOnceAndOnlyAPlainAnswerIsSuccess(t *testing.T) {
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
			s := newStub(t, after(c.answer))
			err := s.open(t, "").Create(t.Context(), "journals/1/2", []byte("data"))
			checkIs(t, err, c.want)
			if n := len(s.sent(http.MethodPut)); n != 1 {
				t.Errorf("sent %d PUTs, want 1", n)
			}
			if n := len(s.requests); n != 1 {
				t.Errorf("sent %d requests, want 1", n)
			}
			if _, ok := s.object("/events/journals/1/2"); !ok {
				t.Error("the stub did not store the object")
			}
		})
	}
}

func TestCreateOnAConnectionThatTheStoreHasClosedIsNotRepeated(t *testing.T) {
	puts := 0
	s := newStub(t, nil)
	s.answer = func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if puts++; puts == 1 {
			honest.ServeHTTP(w, r) // leaves an idle connection behind
			return
		}
		honest.ServeHTTP(discard{}, r)
		hangUp(w, r)
	}
	store := s.open(t, "")
	if err := store.Create(t.Context(), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	checkIs(t, store.Create(t.Context(), "b", []byte("2")), nil)
	if n := len(s.sent(http.MethodPut)); n != 2 {
		t.Errorf("sent %d PUTs, want 2", n)
	}
}

func TestCreateReturnsWhenItsContextEnds(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newStub(t, after(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	err := s.open(t, "").Create(ctx, "a", []byte("1"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context canceled", err)
	}
	checkIs(t, err, nil)
	if n := len(s.sent(http.MethodPut)); n != 1 {
		t.Errorf("sent %d PUTs, want 1", n)
	}
}

func TestReadsAreUnknownUnlessTheStoreSaidSo(t *testing.T) {
	object := map[string]string{"ETag": `"abc"`, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
	with := func(k, v string) map[string]string {
		h := map[string]string{k: v}
		for k, v := range object {
			h[k] = v
		}
		return h
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   error // nil: unknown
	}{
		{"404 NoSuchKey", replyS3(404, "NoSuchKey"), objstore.ErrNotFound},
		{"404 NoSuchBucket", replyS3(404, "NoSuchBucket"), objstore.ErrNoBucket},
		{"404 of a proxy", reply(404, nil, "<html>not found</html>"), nil},
		{"404 without a body", reply(404, nil, ""), nil},
		{"404 of another kind", replyS3(404, "NoSuchUpload"), nil},
		{"404 cut off", reply(404, nil, "<Error><Code>NoSuchKey</Co"), nil},
		{"403", replyS3(403, "AccessDenied"), objstore.ErrDenied},
		{"500", replyS3(500, "InternalError"), nil},
		{"416", replyS3(416, "InvalidRange"), objstore.ErrRange},
		{"short body", reply(206, with("Content-Range", "bytes 0-9/10"), "12345"), objstore.ErrRange},
		{"body shorter than its length", func(w http.ResponseWriter, r *http.Request) {
			reply(206, with("Content-Range", "bytes 0-9/10"), "")(w, r)
			io.WriteString(w, "12345")
			w.(http.Flusher).Flush()
		}, objstore.ErrRange},
		{"long body", reply(206, with("Content-Range", "bytes 0-9/10"), "12345678901"), objstore.ErrRange},
		{"another range", reply(206, with("Content-Range", "bytes 5-9/10"), "67890"), objstore.ErrRange},
		{"whole object instead of a range", reply(200, object, "1234567890"), nil},
		{"broken Content-Range", reply(206, with("Content-Range", "bytes 0-9/*"), "1234567890"), nil},
		{"impossible Content-Range", reply(206, with("Content-Range", "bytes 0-99/10"), "1234567890"), nil},
		{"huge Content-Range", reply(206, with("Content-Range", "bytes 0-9999999999999/99999999999999"), "1"), objstore.ErrRange},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) { c.answer(w, r) })
			_, err := s.open(t, "").GetRange(t.Context(), "a", 0, 10)
			checkIs(t, err, c.want)
			if n := len(s.requests); n > 3 {
				t.Errorf("sent %d requests, want at most 3", n)
			}
		})
	}
}

func TestGetOfLessThanAnnouncedIsErrRange(t *testing.T) {
	s := newStub(t, reportTen)
	_, err := s.open(t, "").Get(t.Context(), "a")
	checkIs(t, err, objstore.ErrRange)
}

// reportTen announces ten bytes, sends five and hangs up.
func reportTen(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	reply(200, map[string]string{"Content-Length": "10", "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "12345")(w, r)
	w.(http.Flusher).Flush()
	hangUp(w, r)
}

func TestReadsAreSentAgainWhenTheStoreIsBusy(t *testing.T) {
	calls := 0
	s := newStub(t, nil)
	s.answer = func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if calls++; calls == 1 && r.Method == http.MethodGet {
			s3Error(w, 503, "SlowDown")
			return
		}
		honest.ServeHTTP(w, r)
	}
	s.objects["/events/a"] = []byte("data")
	got, err := s.open(t, "").Get(t.Context(), "a")
	if err != nil || string(got) != "data" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestListRefusesAnAnswerOutOfOrder(t *testing.T) {
	for name, keys := range map[string][]string{
		"descending":      {"p/b", "p/a"},
		"twice":           {"p/a", "p/a"},
		"before the mark": {"p/0"},
		"outside":         {"q/a"},
	} {
		body := "<ListBucketResult>"
		for _, key := range keys {
			body += "<Contents><Key>" + key + "</Key><Size>1</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
		}
		s := newStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			reply(200, nil, body+"</ListBucketResult>")(w, r)
		})
		var got []string
		err := s.open(t, "p").List(t.Context(), "", "1", func(info objstore.Info) error {
			got = append(got, info.Key)
			return nil
		})
		if err == nil || len(got) >= len(keys) {
			t.Errorf("%s: listed %q, error %v", name, got, err)
		}
	}
}

func TestOpenRefusesContradictions(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	good := minio.Config{Endpoint: "127.0.0.1:9000", Bucket: "events"}
	for name, change := range map[string]func(c *minio.Config){
		"no endpoint":           func(c *minio.Config) { c.Endpoint = "" },
		"endpoint with a path":  func(c *minio.Config) { c.Endpoint = "127.0.0.1:9000/events" },
		"no bucket":             func(c *minio.Config) { c.Bucket = "" },
		"bad bucket":            func(c *minio.Config) { c.Bucket = "Events_" },
		"prefix with a slash":   func(c *minio.Config) { c.Prefix = "a/" },
		"prefix with dots":      func(c *minio.Config) { c.Prefix = "a/../b" },
		"long prefix":           func(c *minio.Config) { c.Prefix = string(bytes.Repeat([]byte("x"), 250)) },
		"concurrency":           func(c *minio.Config) { c.Concurrency = -1 },
		"Amazon without region": func(c *minio.Config) { c.Endpoint = "s3.amazonaws.com" },
	} {
		c := good
		change(&c)
		if _, err := minio.Open(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if s, err := minio.Open(good); err != nil || s.String() != "http://127.0.0.1:9000/events" {
		t.Errorf("%v, %v", s, err)
	}
}

func TestEnsureBucketCreatesAMissingBucketOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		head   int
		put    http.HandlerFunc
		want   error
		ok     bool
		byPuts int
	}{
		{"there", 200, nil, nil, true, 0},
		{"missing", 404, reply(200, nil, ""), nil, true, 1},
		{"lost the race", 404, replyS3(409, "BucketAlreadyOwnedByYou"), nil, true, 1},
		{"taken by others", 404, replyS3(409, "BucketAlreadyExists"), objstore.ErrConflict, false, 1},
		{"not allowed", 404, replyS3(403, "AccessDenied"), objstore.ErrDenied, false, 1},
		{"cannot look", 403, nil, objstore.ErrDenied, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if r.Method == http.MethodPut {
					c.put(w, r)
					return
				}
				w.WriteHeader(c.head)
			})
			err := s.open(t, "").EnsureBucket(t.Context())
			if c.ok && err != nil {
				t.Error(err)
			} else if !c.ok {
				checkIs(t, err, c.want)
			}
			if n := len(s.sent(http.MethodPut)); n != c.byPuts {
				t.Errorf("sent %d PUTs, want %d", n, c.byPuts)
			}
		})
	}
}

func TestCredentialsComeFromTheEnvironmentOrAreMissing(t *testing.T) {
	clearEnv := []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
		"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ALIAS",
		"AWS_SHARED_CREDENTIALS_FILE", "MINIO_SHARED_CREDENTIALS_FILE", "AWS_PROFILE",
	}
	for _, c := range []struct {
		name string
		env  map[string]string
		user string // "" for none
	}{
		{"AWS", map[string]string{"AWS_ACCESS_KEY_ID": "aws", "AWS_SECRET_ACCESS_KEY": "s"}, "aws"},
		{"MinIO root", map[string]string{"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "s"}, "root"},
		{"MinIO", map[string]string{"MINIO_ACCESS_KEY": "key", "MINIO_SECRET_KEY": "s"}, "key"},
		{"none", nil, ""},
		{"half", map[string]string{"AWS_ACCESS_KEY_ID": "aws"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			for _, name := range clearEnv {
				t.Setenv(name, c.env[name])
			}
			s := newStub(t, nil)
			store, err := minio.Open(minio.Config{Endpoint: s.Listener.Addr().String(), Bucket: "events"})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			err = store.Create(t.Context(), "a", nil)
			if c.user == "" {
				checkIs(t, err, objstore.ErrDenied)
				if len(s.requests) != 0 {
					t.Error("sent a request without a signature")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			auth := s.requests[0].Header.Get("Authorization")
			if !bytes.Contains([]byte(auth), []byte("Credential="+c.user+"/")) {
				t.Errorf("signed %s", auth)
			}
		})
	}
}
