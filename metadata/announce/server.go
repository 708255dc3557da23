package announce

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Limits of the embedded server. Hints are small and few; a client that does
// not read is cut off, to save the buffers for it.
const (
	serverMaxPayload = 64 << 10
	serverMaxPending = 4 << 20
	serverStart      = 10 * time.Second
	serverLook       = 100 * time.Millisecond // from one look at its start to the next
)

// startServer runs a NATS server in this process, without signal handlers,
// JetStream, files or standard output.
func startServer(s Spec, o Options) (*server.Server, error) {
	opts := &server.Options{
		NoSigs: true, NoLog: true, NoSystemAccount: true,
		DontListen: s.host == "", Host: s.host, Port: s.port,
		MaxPayload: serverMaxPayload, MaxPending: serverMaxPending,
	}
	if s.host != "" && s.port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if err := route(opts, o); err != nil {
		return nil, err
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up embedded NATS server: %w", err)
	}
	logger := &serverLog{log: o.Log}
	srv.SetLogger(logger, false, false)
	srv.Start() // returns when it listens, or has failed
	if err := awaitServer(srv, logger); err != nil {
		stopServer(srv)
		return nil, fmt.Errorf("start embedded NATS server at %s: %w", s, err)
	}
	return srv, nil
}

// awaitServer waits until the server listens everywhere.
func awaitServer(srv *server.Server, logger *serverLog) error {
	for end := time.Now().Add(serverStart); time.Now().Before(end); {
		if err := logger.fatal(); err != nil {
			return err
		}
		if srv.ReadyForConnections(serverLook) {
			return logger.fatal()
		}
	}
	return fmt.Errorf("not ready after %s", serverStart)
}

// route has the server meet those of other nodes. They send one another the hints of their
// clients, and the addresses of all. One of another cluster is turned away by the name.
func route(opts *server.Options, o Options) error {
	if o.RouteListen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(o.RouteListen)
	if err != nil {
		return fmt.Errorf("read address for routes: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("read address for routes: port %q is not between 0 and 65535", port)
	}
	if opts.DontListen { // a server without a port for clients does not begin with routes
		opts.DontListen, opts.Host, opts.Port = false, "127.0.0.1", server.RANDOM_PORT
	}
	opts.Cluster = server.ClusterOpts{Name: "varve-" + o.Cluster.String(), Host: host, Port: int(n), PoolSize: -1}
	if n == 0 {
		opts.Cluster.Port = server.RANDOM_PORT
	}
	for _, r := range o.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: r})
	}
	return nil
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// serverLog passes on the server's messages. Its Fatalf keeps the error instead
// of ending the process, because only the caller may do that.
type serverLog struct {
	log *slog.Logger
	mu  struct {
		sync.Mutex
		fatal error
	}
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.fatal
}

// Fatalf implements server.Logger.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.fatal == nil {
		l.mu.fatal = fmt.Errorf(format, v...)
	}
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(format string, v ...any) { l.debug(format, v) }

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, v ...any) { l.debug(format, v) }

// Tracef implements server.Logger.
func (l *serverLog) Tracef(format string, v ...any) { l.debug(format, v) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.warn(format, v) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.warn(format, v) }

func (l *serverLog) debug(format string, v []any) {
	l.log.Debug("embedded nats server", "message", fmt.Sprintf(format, v...))
}

func (l *serverLog) warn(format string, v []any) {
	l.log.Warn("embedded nats server", "message", fmt.Sprintf(format, v...))
}
