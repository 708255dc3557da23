package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxBody limits the bytes kept of a request or an answer.
	maxBody = 256 << 20
	// forwardTimeout limits the wait for the store, beyond any client's limit.
	forwardTimeout = 3 * time.Minute
)

// Proxy is a proxy that listens on loopback.
type Proxy struct {
	target    string
	listener  net.Listener
	server    *http.Server
	transport *http.Transport
	ctx       context.Context // ended by Close
	cancel    context.CancelFunc
	running   sync.WaitGroup // the server, and requests that outlive their client

	mu struct {
		sync.Mutex
		random *rand.Rand
		faults []Fault
		fired  map[Kind]int
		late   int // requests that have not arrived yet
	}
}

// Start starts a proxy before the store at target, a host:port without TLS. Its
// random choices follow from seed and the order of requests.
func Start(target string, seed uint64) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start fault proxy: %w", err)
	}
	p := &Proxy{target: target, listener: listener,
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.mu.random = rand.New(rand.NewPCG(seed, 0))
	p.mu.fired = map[Kind]int{}
	p.server = &http.Server{Handler: http.HandlerFunc(p.handle), ErrorLog: log.New(io.Discard, "", 0)}
	p.running.Go(func() { _ = p.server.Serve(listener) }) // always an error, of Close
	return p, nil
}

// Address is the host:port that the proxy listens on.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Set replaces the faults from now on; with none, requests pass unchanged. Of
// several, only the first that strikes a request takes effect. Effects that
// have begun go on.
func (p *Proxy) Set(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.faults = faults
}

// Fired returns how often each fault has struck.
func (p *Proxy) Fired() map[Kind]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.mu.fired)
}

// Late returns how many requests have yet to arrive late.
func (p *Proxy) Late() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.late
}

func (p *Proxy) addLate(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.late += n
}

// Close ends the proxy and everything under way, late arrivals too.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.server.Close()
	p.running.Wait()
	p.transport.CloseIdleConnections()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close fault proxy: %w", err)
	}
	return nil
}

// draw chooses the fault of a request; a zero Fault is none.
func (p *Proxy) draw(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.mu.faults {
		if f.Kind.strikes(r) && strings.Contains(r.URL.Path, f.Path) && p.mu.random.Float64() < f.Rate {
			return f
		}
	}
	return Fault{}
}

// latency returns how long to hold a request.
func (p *Proxy) latency(f Fault) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f.latency(p.mu.random)
}

// intN returns a random number below n.
func (p *Proxy) intN(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.random.IntN(n)
}

func (p *Proxy) fire(kind Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.fired[kind]++
}

// sleep waits for d, at most until Close or the end of ctx.
func (p *Proxy) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
}

// answer is a whole answer of the store.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// forward passes a request on. A write does not end with its client, as its outcome matters. A
// read does: else a store that is slower than its clients wait would work for reads that they
// gave up, and get ever slower.
func (p *Proxy) forward(r *http.Request, size int, body io.Reader) (*answer, error) {
	ctx, cancel := context.WithTimeout(p.ctx, forwardTimeout)
	defer cancel()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		defer context.AfterFunc(r.Context(), cancel)()
	}
	out := r.Clone(ctx)
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = "http", p.target
	out.Host = r.Host // the signature covers it
	out.Header.Del("Connection")
	out.Header.Del("Expect") // the body is here already
	out.Body, out.GetBody, out.ContentLength = io.NopCloser(body), nil, int64(size)
	if size == 0 {
		out.Body = http.NoBody
	}
	response, err := p.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return &answer{status: response.StatusCode, header: response.Header, body: content}, nil
}

// pass is forward for a body as it is.
func (p *Proxy) pass(r *http.Request, body []byte) (*answer, error) {
	return p.forward(r, len(body), bytes.NewReader(body))
}
