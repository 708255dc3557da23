package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
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

func (h *health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready:", h.at)
		return
	}
	fmt.Fprintln(w, "ready")
}

// serveHTTP serves health and metrics. It returns how to stop.
func (n *node) serveHTTP(ln net.Listener) func() error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", n.metrics.handler())
	mux.Handle("GET /readyz", n.health)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
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
