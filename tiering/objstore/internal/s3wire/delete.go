package s3wire

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

// deleteAll answers a request to delete many objects.
func (s *Stub) deleteAll(w http.ResponseWriter, r *http.Request) {
	type named struct {
		Key string
	}
	var wanted struct {
		Quiet  bool
		Object []named
	}
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = xml.Unmarshal(b, &wanted)
	}
	if err != nil || wanted.Quiet || len(wanted.Object) > objstore.MaxBatch {
		s3Error(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	var result struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Deleted []named
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, object := range wanted.Object {
		delete(s.objects, "/events/"+object.Key)
		result.Deleted = append(result.Deleted, object)
	}
	xml.NewEncoder(w).Encode(result)
}

// ofDeletes is an answerer that answers requests to delete many objects with other.
func ofDeletes(other http.HandlerFunc) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		if r.Method == http.MethodPost {
			other(w, r)
			return
		}
		honest.ServeHTTP(w, r)
	}
}

const (
	deletedA = "<Deleted><Key>p/a</Key></Deleted>"
	deletedB = "<Deleted><Key>p/b</Key></Deleted>"
)

// deleteBatchIsUnknown has a store that answers in every way for the objects a and b.
func deleteBatchIsUnknown(t *testing.T, open Opener) {
	result := func(entries string) http.HandlerFunc {
		return reply(200, nil, "<DeleteResult>"+entries+"</DeleteResult>")
	}
	failed := func(code string) string {
		return "<Error><Key>p/b</Key><Code>" + code + "</Code><Message>stub</Message></Error>"
	}
	unknown := errors.New("unknown")
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		a, b   error // nil: deleted
	}{
		{"both", result(deletedA + deletedB), nil, nil},
		{"in another order", result(deletedB + deletedA), nil, nil},
		{"one is not named", result(deletedA), nil, unknown},
		{"nothing is named", result(""), unknown, unknown},
		{"another is named", result(deletedA + "<Deleted><Key>b</Key></Deleted>"), nil, unknown},
		{"one is missing", result(deletedA + failed("NoSuchKey")), nil, nil},
		{"one failed", result(deletedA + failed("InternalError")), nil, unknown},
		{"one failed, and is named as deleted", result(deletedA + failed("InternalError") + deletedB), nil, unknown},
		{"one is not allowed", result(deletedA + failed("AccessDenied")), nil, objstore.ErrDenied},
		{"one is locked", result(deletedA + failed("ObjectLocked")), nil, unknown},
		{"200 with an error", reply(200, nil, "<Error><Code>InternalError</Code></Error>"), unknown, unknown},
		{"200 with a page", reply(200, nil, "<html>please log in</html>"), unknown, unknown},
		{"200 without a body", reply(200, nil, ""), unknown, unknown},
		{"cut off", reply(200, nil, "<DeleteResult>"+deletedA+"<Deleted><Ke"), unknown, unknown},
		{"500", replyS3(500, "InternalError"), unknown, unknown},
		{"403", replyS3(403, "AccessDenied"), objstore.ErrDenied, objstore.ErrDenied},
		{"404 NoSuchBucket", replyS3(404, "NoSuchBucket"), objstore.ErrNoBucket, objstore.ErrNoBucket},
		{"connection dropped", hangUp, unknown, unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewStub(t, ofDeletes(c.answer))
			outcomes := objstore.DeleteAll(t.Context(), open(t, s.Host(), "p"), []string{"a", "b"})
			for i, want := range []error{c.a, c.b} {
				if err := outcomes[i]; (err == nil) != (want == nil) {
					t.Errorf("object %d: %v, want %v", i, err, want)
				} else if want != nil && want != unknown && !errors.Is(err, want) {
					t.Errorf("object %d: %v, want %v", i, err, want)
				}
			}
			if n := len(s.Sent(http.MethodDelete)); n != 0 {
				t.Errorf("sent %d single deletes", n)
			}
		})
	}
}

func deleteBatchIsOneRequest(t *testing.T, open Opener) {
	s := NewStub(t, nil)
	store := open(t, s.Host(), "some/prefix")
	var keys []string
	for i := range objstore.MaxBatch + 1 {
		key := fmt.Sprintf("merged/1/<&>-%d", i)
		s.objects["/events/some/prefix/"+key] = nil
		keys = append(keys, key)
	}
	if err := errors.Join(objstore.DeleteAll(t.Context(), store, keys)...); err != nil {
		t.Error(err)
	}
	if n := len(s.Sent(http.MethodPost)); n != 2 || len(s.Sent("")) != 2 {
		t.Errorf("sent %d batches and %d requests, want 2", n, len(s.Sent("")))
	}
	if len(s.objects) != 0 {
		t.Errorf("%d objects are left", len(s.objects))
	}
}

// deletesOneByOne has stores that do not take a batch, each in a way that stores have.
func deletesOneByOne(t *testing.T, open Opener) {
	for _, refusal := range []http.HandlerFunc{
		replyS3(501, "NotImplemented"), replyS3(405, "MethodNotAllowed"), reply(405, nil, ""), replyS3(400, "MissingContentMD5"),
	} {
		s := NewStub(t, ofDeletes(refusal))
		store := open(t, s.Host(), "")
		var batches [2]int
		for call := range batches {
			s.objects["/events/a"], s.objects["/events/b"] = nil, nil
			if err := errors.Join(objstore.DeleteAll(t.Context(), store, []string{"a", "b", "c"})...); err != nil {
				t.Error(err)
			}
			if len(s.objects) != 0 {
				t.Errorf("%d objects are left", len(s.objects))
			}
			batches[call] = len(s.Sent(http.MethodPost))
		}
		// The second call sends no batch.
		if batches[0] < 1 || batches[1] != batches[0] || len(s.Sent(http.MethodDelete)) != 6 {
			t.Errorf("sent %d batches and %d single deletes", batches, len(s.Sent(http.MethodDelete)))
		}
	}
}

// storeTimeIsThatOfAnswers has a store whose clock is years ago.
func storeTimeIsThatOfAnswers(t *testing.T, open Opener) {
	var answer http.HandlerFunc
	dated := map[string]string{"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "ETag": `"abc"`, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
	s := NewStub(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Date", dated["Date"])
		answer(w, r)
	})
	store := open(t, s.Host(), "")
	clock := store.(objstore.Clock)
	if at, n := clock.StoreTime(); n != 0 || !at.IsZero() {
		t.Errorf("before any answer: %v, %d answers", at, n)
	}
	var before uint64
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		call   func() error
		counts bool
	}{
		{"an object", reply(200, dated, "data"), func() error { _, err := store.Get(t.Context(), "a"); return err }, true},
		{"a missing one", replyS3(404, "NoSuchKey"), func() error { _, err := store.Get(t.Context(), "a"); return err }, true},
		{"from a cache", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Age", "31536000")
			reply(200, dated, "data")(w, r)
		}, func() error { _, err := store.Get(t.Context(), "a"); return err }, false},
		{"without a date", func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			w.Header().Set("Last-Modified", dated["Last-Modified"])
			w.Header().Set("ETag", dated["ETag"])
			io.WriteString(w, "data")
		}, func() error { _, err := store.Get(t.Context(), "a"); return err }, false},
		{"of a proxy", reply(403, dated, "<html></html>"), func() error { _, err := store.Get(t.Context(), "a"); return err }, false},
		{"a create", reply(200, dated, ""), func() error { return store.Create(t.Context(), "a", objstore.Plain(nil)) }, false},
	} {
		answer = c.answer
		_ = c.call()
		at, n := clock.StoreTime()
		if (n > before) != c.counts {
			t.Errorf("%s: %d answers after %d", c.name, n, before)
		}
		if want := "2015-10-21T07:28:00Z"; at.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: the store's time is %v, want %s", c.name, at, want)
		}
		before = n
	}
}
