// Package s3http is the store that the drivers for S3 share: Store is the bucket, and
// a driver adds a Client, the calls of its SDK.
//
// It owns the connections, and decides what an answer means and how long a body must
// be. It promises that both drivers take the same answer for the same thing, and that
// a doubtful answer becomes neither success nor one of objstore's errors. It never
// repeats a request.
package s3http

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// defaultConnections is how many connections a driver keeps for Create, and
// for all else.
const defaultConnections = 64

const (
	// How long the store may take from the last byte of a request to the first of its
	// answer. If the answer to a commit is late, it is better to look the commit up
	// and send it again than to wait. MinIO holds a key's lock for up to 30 s when
	// another writer stalls, and the caller must live with that as well.
	headerTimeout = 10 * time.Second
	// An upload waits longer: the store syncs more bytes, and a proxy that gathers a body
	// before it passes it on has all of it to send.
	uploadHeaderTimeout = 2 * time.Minute
	// uploads is how many uploads have a connection of their own.
	uploads = 4

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

// uploadLimit is how long an upload may take. It fits a store that takes 1 MiB a second,
// and then has some time to make the bytes durable.
func uploadLimit(size int64) time.Duration {
	return 30*time.Second + time.Duration(size>>20)*time.Second
}

// isUpload is the key of a context's value: the request sends a source.
type isUpload struct{}

// byPurpose sends uploads by connections of their own, so that a slow large body keeps no
// commit waiting.
type byPurpose struct{ commits, uploads http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t byPurpose) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Context().Value(isUpload{}) != nil {
		return t.uploads.RoundTrip(req)
	}
	return t.commits.RoundTrip(req)
}

// commitTransport makes errors of the answers with a 2xx status that cannot confirm a
// PUT. The SDKs take every 2xx for success, or for nothing at all. They read no body,
// and the body of a 200 can be an error.
type commitTransport struct{ Next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t commitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Next.RoundTrip(req)
	if err != nil || resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read answer with status %d: %w", resp.StatusCode, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d confirms no PUT: %.500q", resp.StatusCode, body)
	}
	if bytes.Contains(body, []byte("<Error")) {
		return nil, fmt.Errorf("status 200 with an error: %.500q", body)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
