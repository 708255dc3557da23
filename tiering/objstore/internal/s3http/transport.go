// Package s3http is what the drivers that speak S3 have in common, whichever
// client they use: connections, the meaning of an answer, the length of a body.
//
// It owns no connection and no client. It promises that both drivers take the
// same answer for the same thing, and that an answer which leaves a doubt
// becomes neither success nor one of objstore's errors. It never sends or
// repeats a request by itself.
package s3http

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// DefaultConnections is how many connections a driver keeps for Create, and
// for all else.
const DefaultConnections = 64

const (
	// How long the store may take from the last byte of a request to the first
	// of its answer. A commit whose answer is late is better looked up and sent
	// again than waited for; MinIO holds a key's lock for up to 30 s when
	// another writer stalls, and the caller must live with that as well.
	headerTimeout = 10 * time.Second

	idleTimeout = time.Minute
	dialTimeout = 5 * time.Second
	bufferSize  = 64 << 10
)

// NewTransport returns an HTTP/1.1 transport: HTTP/2 would put all requests on
// one connection. As many connections are kept as may be open, because a new
// one costs a TLS handshake.
func NewTransport(connections int) *http.Transport {
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

// CommitTransport lets of the answers with a 2xx status only those through that
// can confirm a PUT. The SDKs take every 2xx for success, or for nothing at
// all, and read no body: that of a 200 can be an error.
type CommitTransport struct{ Next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t CommitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
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
