// Package s3wire is the contract of the drivers that speak S3, as tests of their requests
// and of their reading of answers.
//
// It owns a stub of a store, which records requests and answers as a test wants. It
// promises that a driver which passes sends a Create once, with the right headers, and
// takes no doubtful answer for a plain one. It never asks which client a driver uses.
package s3wire

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// Stub is an S3 store that records its requests and answers as a test wants.
type Stub struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string][]byte // by path
	requests []*http.Request   // without bodies
	answer   func(w http.ResponseWriter, r *http.Request, honest http.Handler)
}

// NewStub starts a store whose answers pass through answer; nil is honest.
func NewStub(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, honest http.Handler)) *Stub {
	s := &Stub{objects: map[string][]byte{}, answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// Host returns the host and port of the stub.
func (s *Stub) Host() string { return s.Listener.Addr().String() }

// ServeHTTP implements http.Handler.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Clone(r.Context()))
	s.mu.Unlock()
	if s.answer != nil {
		s.answer(w, r, http.HandlerFunc(s.honest))
		return
	}
	s.honest(w, r)
}

// Sent returns the recorded requests of a method; "" stands for all.
func (s *Stub) Sent(method string) []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r *http.Request) bool { return method != "" && r.Method != method })
}

func (s *Stub) object(path string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[path]
	return data, ok
}

func (s *Stub) honest(w http.ResponseWriter, r *http.Request) {
	switch {
	case !strings.HasPrefix(r.URL.Path+"/", "/events/"):
		s3Error(w, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodPut:
		s.put(w, r)
	case r.Method == http.MethodGet && r.URL.Query().Has("list-type"):
		s.list(w, r)
	case r.Method == http.MethodGet:
		s.get(w, r)
	case r.Method == http.MethodPost && r.URL.Query().Has("delete"):
		s.deleteAll(w, r)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.objects, r.URL.Path)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		s3Error(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func (s *Stub) put(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	if r.Header.Get("x-amz-checksum-crc32c") != checksum(body) {
		s3Error(w, http.StatusBadRequest, "BadDigest")
		return
	}
	s.mu.Lock()
	_, exists := s.objects[r.URL.Path]
	if !exists {
		s.objects[r.URL.Path] = body
	}
	s.mu.Unlock()
	if exists {
		s3Error(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
	w.Header().Set("x-amz-checksum-crc32c", checksum(body))
}

// checksum is the header of that name for a body.
func checksum(body []byte) string { return s3http.Checksum(objstore.Plain(body).Sum()) }

func (s *Stub) get(w http.ResponseWriter, r *http.Request) {
	data, ok := s.object(r.URL.Path)
	if !ok {
		s3Error(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if len(data) == 0 && r.Header.Get("Range") != "" {
		s3Error(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), strings.NewReader(string(data)))
}

func (s *Stub) list(w http.ResponseWriter, r *http.Request) {
	type content struct {
		Key          string
		Size         int
		LastModified string
	}
	type result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		EncodingType          string `xml:",omitempty"`
		NextContinuationToken string
		Contents              []content
	}
	q := r.URL.Query()
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	s.mu.Lock()
	defer s.mu.Unlock()
	var res result
	res.EncodingType = q.Get("encoding-type")
	for path, data := range s.objects {
		key := strings.TrimPrefix(path, "/events/")
		if strings.HasPrefix(key, q.Get("prefix")) && key > after {
			res.Contents = append(res.Contents, content{key, len(data), "2026-01-02T03:04:05.000Z"})
		}
	}
	slices.SortFunc(res.Contents, func(a, b content) int { return strings.Compare(a.Key, b.Key) })
	if len(res.Contents) > 1000 {
		res.Contents, res.IsTruncated = res.Contents[:1000], true
		res.NextContinuationToken = res.Contents[999].Key
	}
	if res.EncodingType == "url" {
		for i := range res.Contents {
			res.Contents[i].Key = url.QueryEscape(res.Contents[i].Key)
		}
	}
	xml.NewEncoder(w).Encode(res)
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>stub</Message></Error>", code)
}
