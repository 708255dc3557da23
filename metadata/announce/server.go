package announce

import (
	"fmt"
	"log/slog"
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
)

// startServer runs a NATS server in this process, without signal handlers,
// JetStream, files or standard output.
func startServer(s Spec, log *slog.Logger) (*server.Server, error) {
	opts := &server.Options{
		ServerName: "varve", NoSigs: true, NoLog: true, NoSystemAccount: true,
		DontListen: s.host == "", Host: s.host, Port: s.port,
		MaxPayload: serverMaxPayload, MaxPending: serverMaxPending,
	}
	if s.host != "" && s.port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up embedded NATS server: %w", err)
	}
	logger := &serverLog{log: log}
	srv.SetLogger(logger, false, false)
	srv.Start() // returns when it listens, or has failed
	err = logger.fatal()
	if err == nil && !srv.ReadyForConnections(serverStart) {
		err = fmt.Errorf("not ready after %s", serverStart)
	}
	if err != nil {
		stopServer(srv)
		return nil, fmt.Errorf("start embedded NATS server at %s: %w", s, err)
	}
	return srv, nil
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
