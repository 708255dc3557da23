package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// filter decides the outcome of a request; pass lets MinIO answer it.
type filter func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter))

// proxy stands between varve and a MinIO server and changes requests as a test
// needs.
type proxy struct {
	mu     sync.Mutex
	filter filter         // nil: all pass
	calls  map[string]int // by HTTP method
}

// behindProxy is the bucket as seen through a proxy.
func behindProxy(t testing.TB, b bucket) (bucket, *proxy) {
	t.Helper()
	p := &proxy{calls: map[string]int{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	forward := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: b.minio.Address})
		r.Out.Host = r.In.Host // the signature covers it
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls[r.Method]++
		filter := p.filter
		p.mu.Unlock()
		pass := func(w http.ResponseWriter) { forward.ServeHTTP(w, r) }
		if filter == nil {
			pass(w)
			return
		}
		filter(w, r, pass)
	}))
	t.Cleanup(func() {
		p.set(nil)
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	b.url = strings.Replace(b.url, b.minio.Address, server.Listener.Addr().String(), 1)
	return b, p
}

// set replaces the filter of later requests.
func (p *proxy) set(f filter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filter = f
}

// count returns the number of requests with a method.
func (p *proxy) count(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[method]
}

// reads reports whether a request changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// readOnly answers all other requests as a store does that permits no more.
func readOnly(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) {
	if reads(r) {
		pass(w)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`))
}

// dropAnswer lets a request take effect, but drops the answer.
func dropAnswer(w http.ResponseWriter, pass func(http.ResponseWriter)) {
	pass(httptest.NewRecorder())
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		c.Close()
	}
}
