package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/varvelog/varve/cmd/internal/status"
)

// profiles adds the paths that `go tool pprof` requests. Profiles show the
// process's time and memory, and no stored data. Still, they are served only if
// --pprof is set.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, allocs, goroutine and the like by name
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// serveHTTP serves health and metrics. It returns a function that stops it.
func (n *node) serveHTTP(ln net.Listener) func() error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metrics.handler())
	mux.Handle("GET /readyz", n.asking(n.board))
	mux.Handle("GET "+status.Path, n.asking(status.Handler(n.status)))
	mux.Handle("GET "+status.TopicsPath, n.asking(status.HandlerOf(n.storedTopics)))
	mux.Handle("GET "+status.DeletedPath, n.asking(status.Handler(n.deletedTopics)))
	mux.Handle("GET "+status.EventsPath, status.HandlerOf(n.clusterEvents))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	if n.cfg.PProf {
		profiles(mux)
	}
	conns := newHTTPConns(ln, maxHTTPConns)
	server := &http.Server{
		Handler: mux, ReadTimeout: httpRead, WriteTimeout: httpWrite, IdleTimeout: httpIdle, MaxHeaderBytes: maxHTTPHeader,
		ConnState: conns.changed, ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelWarn),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(conns); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("serve http: %w", err))
		}
	}()
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil {
			err = server.Close()
		}
		<-done
		return err
	}
}
