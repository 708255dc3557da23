package s3http

import (
	"net/http"
	"sync"
	"time"
)

// clock notes the time that answers to reads name in their Date header.
type clock struct {
	next http.RoundTripper

	mu struct {
		sync.Mutex
		at      time.Time
		answers uint64
	}
}

// RoundTrip implements http.RoundTripper.
func (c *clock) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err == nil && fromStore(req, resp) {
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			c.mu.Lock()
			c.mu.at, c.mu.answers = at, c.mu.answers+1
			c.mu.Unlock()
		}
	}
	return resp, err
}

// fromStore reports whether an answer to a read comes from the store, as far as status and
// Age show that. A proxy or a cache has a clock of its own.
func fromStore(req *http.Request, resp *http.Response) bool {
	if req.Method != http.MethodGet && req.Method != http.MethodHead || resp.Header.Get("Age") != "" {
		return false
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotFound:
		return true
	}
	return false
}

// StoreTime implements objstore.Clock.
func (s *Store) StoreTime() (at time.Time, answers uint64) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	return s.clock.mu.at, s.clock.mu.answers
}
