package minio

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// How long the store may take from the last byte of a request to the first
	// of its answer. A commit whose answer is late is better looked up and sent
	// again than waited for; MinIO holds a key's lock for up to 30 s when
	// another writer stalls, and the caller must live with that as well.
	commitHeaderTimeout = 10 * time.Second
	readHeaderTimeout   = 10 * time.Second

	idleTimeout = time.Minute
	dialTimeout = 5 * time.Second
	bufferSize  = 64 << 10
)

// newTransport returns an HTTP/1.1 transport: HTTP/2 would put all requests on
// one connection. As many connections are kept as may be open, because a new
// one costs a TLS handshake.
func newTransport(connections int, headerTimeout time.Duration) *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		Protocols:             &http1,
		MaxIdleConns:          connections,
		MaxIdleConnsPerHost:   connections,
		MaxConnsPerHost:       connections,
		IdleConnTimeout:       idleTimeout,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		DisableCompression:    true,
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
	}
}

// commitTransport keeps the SDK from taking a 200 with an error in its body for
// success: it reads no body after a 2xx status.
type commitTransport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t commitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read answer with status 200: %w", err)
	}
	if bytes.Contains(body, []byte("<Error")) {
		return nil, fmt.Errorf("status 200 with an error: %.500q", body)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
