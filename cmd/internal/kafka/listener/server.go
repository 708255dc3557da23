package listener

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varvelog/varve/tiering/buffer"
)

// Server serves Kafka clients. Make one with New, run it with Serve, end it by
// ending Serve's context or with Close.
type Server struct {
	config    Config
	metrics   Metrics
	log       *slog.Logger
	complaint *Complaints
	now       func() time.Time
	apis      registry

	ctx     context.Context // of all connections
	cancel  context.CancelFunc
	running sync.WaitGroup // connections
	stopped chan struct{}  // closed when Serve returns

	budget *budget
	memory *buffer.Pool // of frames
	open   <-chan struct{}

	mu      sync.Mutex
	guarded struct {
		open    map[*conn]struct{}
		within  int            // those of open that are within the limits
		perIP   map[string]int // of them, by address
		reserve []*conn        // the others, the oldest first, without those that are being closed
		serving bool
		closing bool
	}
}

// Endpoint is a place where clients connect: a listener with a name, as Kafka has it.
type Endpoint struct {
	Name     string
	Listener net.Listener
	Security
}

// Plaintext is Kafka's name for a listener without security.
const Plaintext = "PLAINTEXT"

// Surroundings are the things of the process that a Server uses. Now must be
// set.
type Surroundings struct {
	Now        func() time.Time
	Complaints *Complaints  // closed when Serve returns; nil: one that logs to Log
	Metrics    Metrics      // nil: NoMetrics
	Log        *slog.Logger // nil: slog.Default
	Memory     *buffer.Pool // for frames of pooled APIs; nil: none is used again
	// Open is closed when clients may be answered; until then only private keys are. Nil: at
	// once.
	Open <-chan struct{}
}

// New checks the configuration and returns a server that serves nothing yet.
func New(config Config, apis []API, around Surroundings) (*Server, error) {
	config = config.WithDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	if around.Now == nil {
		return nil, errors.New("the listener needs a clock")
	}
	registry, err := newRegistry(apis)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: config, apis: registry, now: around.Now, metrics: around.Metrics, log: around.Log, complaint: around.Complaints, memory: around.Memory, open: around.Open,
		stopped: make(chan struct{}),
		budget:  newBudget(config.RequestMemory, int64(config.MaxRequestBytes), config.MinReadRate),
	}
	if s.metrics == nil {
		s.metrics = NoMetrics{}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.complaint == nil {
		s.complaint = NewComplaints(s.log)
	}
	if s.open == nil {
		open := make(chan struct{})
		close(open)
		s.open = open
	}
	s.budget.onShort = s.short
	s.guarded.open = make(map[*conn]struct{})
	s.guarded.perIP = make(map[string]int)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts connections of the endpoints until ctx ends, or Close is called, or one of
// their listeners fails. It then closes them all, lets the requests under way finish for up
// to DrainTimeout, and returns once every goroutine it started has ended. The
// error is nil unless a listener failed. It may be called once.
func (s *Server) Serve(ctx context.Context, at ...Endpoint) error {
	if !s.begin() {
		closeAll(at)
		return net.ErrClosed
	}
	defer close(s.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	accepting, ctx := errgroup.WithContext(ctx)
	listening := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(listening)
		closeAll(at)
	})
	stop := context.AfterFunc(s.ctx, cancel)
	for _, e := range at {
		accepting.Go(func() error { return s.accept(ctx, e) })
	}
	err := accepting.Wait()
	stop()
	<-listening
	s.drain()
	s.complaint.close()
	return err
}

func closeAll(endpoints []Endpoint) {
	for _, e := range endpoints {
		e.Listener.Close()
	}
}

// Close ends every connection at once and waits until Serve has returned.
// Requests under way are not answered.
func (s *Server) Close() error {
	s.mu.Lock()
	s.guarded.closing = true
	serving := s.guarded.serving
	s.mu.Unlock()
	s.cancel()
	if serving {
		<-s.stopped
	}
	return nil
}

// begin reports whether Serve may run: once, and not after Close.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guarded.closing || s.guarded.serving {
		return false
	}
	s.guarded.serving = true
	return true
}

// The wait between two attempts to accept while the process is out of file
// descriptors or the like.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

func (s *Server) accept(ctx context.Context, at Endpoint) error {
	wait := minAcceptWait
	for {
		nc, err := at.Listener.Accept()
		switch {
		case err == nil:
			wait = minAcceptWait
			if c := s.admit(nc, at); c != nil {
				s.running.Go(func() { s.run(c) })
			}
		case ctx.Err() != nil:
			return nil
		case temporary(err):
			s.complaint.Warn("accept", "cannot accept a Kafka connection", "error", err, "retry_in", wait)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, maxAcceptWait)
		default:
			return fmt.Errorf("accept Kafka connection: %w", err)
		}
	}
}

// passing are errors of accept that concern one connection, or pass.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ETIMEDOUT,
}

func temporary(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}

// admit counts a new connection, or closes it if there are too many, also beyond the limits.
func (s *Server) admit(nc net.Conn, at Endpoint) *conn {
	client := newClient(nc, at)
	s.mu.Lock()
	beyond := s.beyond(client.Host)
	if beyond != nil && !s.hasReserve() {
		s.mu.Unlock()
		nc.Close()
		s.refused(beyond, client)
		return nil
	}
	c := newConn(s, nc, client, at.Security)
	c.beyond = beyond
	s.count(c)
	s.mu.Unlock()
	s.metrics.Connections(1)
	return c
}

func newClient(nc net.Conn, at Endpoint) *Client {
	addr := nc.RemoteAddr().String()
	return &Client{Principal: Anonymous(), Address: addr, Host: hostOf(addr), Listener: at.Name, SASL: at.SASL, Awaited: at.authenticates()}
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func (s *Server) run(c *conn) {
	s.ended(c, c.serve()) // reported before it counts as closed
	s.mu.Lock()
	s.uncount(c)
	c.account.close()
	s.mu.Unlock()
	s.metrics.Connections(-1)
	if stopping := c.draining.Load() || s.ctx.Err() != nil; c.atEnd != nil && !stopping {
		c.atEnd()
	}
}

// drain lets connections finish the requests under way, for at most
// DrainTimeout or until Close.
func (s *Server) drain() {
	if s.ctx.Err() == nil { // Close cuts long polls off, and does not end them with answers
		s.each((*conn).drain)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
	}()
	patience := time.NewTimer(s.config.DrainTimeout)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
		s.log.Warn("requests under way were cut off as the Kafka listener stopped", "waited", s.config.DrainTimeout)
	case <-s.ctx.Done():
	}
	s.each(func(c *conn) { c.fail(ErrStopping) })
	<-done
}

// each calls fn, which must not block, for every open connection.
func (s *Server) each(fn func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.guarded.open {
		fn(c)
	}
}

// ended reports why a connection ended, unless the client ended it.
func (s *Server) ended(c *conn, err error) {
	var network *net.OpError
	switch {
	case errors.Is(err, ErrStopping), errors.Is(err, context.Canceled):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &network):
		s.log.Debug("Kafka client hung up", "client", c.client().Address, "error", err)
	default:
		s.refused(err, c.client())
	}
}

const otherRefusal = "other"

// refusals are the words under which Metrics counts refusals.
var refusals = []struct {
	err  error
	word string
}{
	{errIdle, "idle"},
	{errFrameSize, "frame_size"},
	{errUnknownKey, "unknown_key"},
	{errVersion, "unsupported_version"},
	{errSlow, "slow_sender"},
	{errSlowReader, "slow_reader"},
	{errTooMany, "connections"},
	{errTooManyIP, "connections_per_address"},
	{errNotPeer, "not_a_node"},
	{errTLS, "tls"},
	{errNotInTime, "not_authenticated_in_time"},
	{errAuthentication, "not_authenticated"},
	{ErrAuthentication, "authentication"},
	{errSession, "session_ended"},
	{errRevoked, "user_deleted"},
	{errNoMemory, "no_memory"},
	{errHoldsMemory, "holds_memory"},
	{errTakesSlowly, "takes_slowly"},
	{ErrTooCostly, "too_large"},
	{ErrMalformed, "malformed"},
	{ErrUnacked, "failed_without_ack"},
}

// Refusals returns the words that Metrics.Refused may get.
func Refusals() []string {
	words := []string{otherRefusal}
	for _, r := range refusals {
		words = append(words, r.word)
	}
	return words
}

func (s *Server) refused(err error, from *Client) {
	word := otherRefusal
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			word = r.word
			break
		}
	}
	s.metrics.Refused(word)
	if errors.Is(err, errIdle) || errors.Is(err, errNoMemory) { // short names the holders of the memory
		s.log.Debug("closed Kafka connection", "client", from.Address, "reason", err)
		return
	}
	s.complaint.Warn(word, "closed Kafka connection", append(from.Logged("client"), "reason", err)...)
}

// short logs the holders of the memory for which requests wait.
func (s *Server) short(now shortage) {
	for _, h := range now.holders {
		args := append([]any{"of", partNames[now.part], "size", now.size, "waiting", now.waiting}, h.client.Logged("held_by")...)
		s.log.Warn("requests wait for memory", append(args, "bytes", h.bytes,
			"for", time.Since(h.since).Round(time.Millisecond), "which_is", h.state)...)
	}
}
