package s3wire

import (
	"io"
	"net/http"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

func readsAreUnknown(t *testing.T, open Opener) {
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
			s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) { c.answer(w, r) })
			err := open(t, s.Host(), "").GetRange(t.Context(), "a", 0, make([]byte, 10))
			CheckIs(t, err, c.want)
			if n := len(s.Sent("")); n > 3 {
				t.Errorf("sent %d requests, want at most 3", n)
			}
		})
	}
}

// tailOfNothing has stores that answer in different ways for a range of an empty object.
func tailOfNothing(t *testing.T, open Opener) {
	dated := map[string]string{"ETag": `"abc"`, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
	for _, c := range []struct {
		name          string
		ranged, whole http.HandlerFunc
		ok            bool
	}{
		{"416", replyS3(416, "InvalidRange"), reply(200, dated, ""), true},
		{"the Range header is ignored", reply(200, dated, ""), reply(200, dated, ""), true},
		{"the object has bytes", replyS3(416, "InvalidRange"), reply(200, dated, "data"), false},
		{"the whole object has bytes", reply(200, dated, ""), reply(200, dated, "data"), false},
		{"an object with bytes, whole", reply(200, dated, "data"), reply(200, dated, "data"), false},
		{"no answer to the second request", reply(200, dated, ""), replyS3(403, "AccessDenied"), false},
	} {
		s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.Header.Get("Range") != "" {
				c.ranged(w, r)
				return
			}
			c.whole(w, r)
		})
		tail, size, err := open(t, s.Host(), "").GetTail(t.Context(), "a", 64)
		if (err == nil) != c.ok || len(tail) != 0 || size != 0 {
			t.Errorf("%s: %d bytes of %d, error %v", c.name, len(tail), size, err)
		}
	}
}

func getOfLessThanAnnounced(t *testing.T, open Opener) {
	s := NewStub(t, reportTen)
	_, err := open(t, s.Host(), "").Get(t.Context(), "a")
	CheckIs(t, err, objstore.ErrRange)
}

// reportTen announces ten bytes, sends five and hangs up.
func reportTen(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	reply(200, map[string]string{"Content-Length": "10", "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "12345")(w, r)
	w.(http.Flusher).Flush()
	hangUp(w, r)
}

func readsAreSentAgain(t *testing.T, open Opener) {
	calls := 0
	s := NewStub(t, nil)
	s.answer = func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if calls++; calls == 1 && r.Method == http.MethodGet {
			s3Error(w, 503, "SlowDown")
			return
		}
		honest.ServeHTTP(w, r)
	}
	s.objects["/events/a"] = []byte("data")
	got, err := open(t, s.Host(), "").Get(t.Context(), "a")
	if err != nil || string(got) != "data" {
		t.Errorf("got %q, %v", got, err)
	}
}

func listRefusesAnAnswerOutOfOrder(t *testing.T, open Opener) {
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
		s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			reply(200, nil, body+"</ListBucketResult>")(w, r)
		})
		var got []string
		err := open(t, s.Host(), "p").List(t.Context(), "", "1", func(info objstore.Info) error {
			got = append(got, info.Key)
			return nil
		})
		if err == nil || len(got) >= len(keys) {
			t.Errorf("%s: listed %q, error %v", name, got, err)
		}
	}
}

func ensureBucketCreatesAMissingBucketOnly(t *testing.T, open Opener) {
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
			s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				if r.Method == http.MethodPut {
					c.put(w, r)
					return
				}
				w.WriteHeader(c.head)
			})
			err := open(t, s.Host(), "").EnsureBucket(t.Context())
			if c.ok && err != nil {
				t.Error(err)
			} else if !c.ok {
				CheckIs(t, err, c.want)
			}
			if n := len(s.Sent(http.MethodPut)); n != c.byPuts {
				t.Errorf("sent %d PUTs, want %d", n, c.byPuts)
			}
		})
	}
}
