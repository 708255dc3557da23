package proc_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAProcessIsReadyOnceItAnswersSo(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "reads the bucket", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	p, _ := start(t, "polite")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.AwaitReady(ctx, server.URL); err != nil || asked.Load() != 3 {
		t.Errorf("%v after %d questions", err, asked.Load())
	}
	asked.Store(-1 << 40)
	soon, stop := context.WithCancel(ctx)
	stop()
	if err := p.AwaitReady(soon, server.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.AwaitReady(ctx, server.URL); !errors.As(err, &exit) || !strings.Contains(err.Error(), "reads the bucket") {
		t.Errorf("of a process that has ended: %v", err)
	}
}
