package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/varvelog/varve/cmd/internal/status"
)

// health is what /readyz tells.
type health struct {
	mu sync.Mutex
	ok bool
	at string // what the node is busy with while it is not ready
}

func (h *health) starting(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ok, h.at = false, what
}

func (h *health) ready() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ok = true
}

// state tells whether the node is ready, and what it is busy with if it is not.
func (h *health) state() (ready bool, at string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ok, h.at
}

func (h *health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	ready, at := h.state()
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready:", at)
		return
	}
	fmt.Fprintln(w, "ready")
}

// profiles adds what `go tool pprof` asks for. They tell how the process spends
// its time and memory, nothing of what it stores; still, only on request.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, allocs, goroutine and the like by name
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// serveHTTP serves health and metrics. It returns how to stop.
func (n *node) serveHTTP(ln net.Listener) func() error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metrics.handler())
	mux.Handle("GET /readyz", n.health)
	mux.Handle("GET "+status.Path, status.Handler(n.status))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	if n.cfg.PProf {
		profiles(mux)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
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
