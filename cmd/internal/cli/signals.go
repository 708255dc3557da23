package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// oneSignal is how long signals count as one. Terminals and timeout(1) send a
// signal to the process and once more through its parent: the user sent it
// once.
const oneSignal = 300 * time.Millisecond

// WithSignals returns a context that ends at the first SIGINT or SIGTERM. The
// second one calls exit(ExitInterrupted) at once, for a user who does not want
// to wait; one that comes right after the first counts as the first. It also
// makes writing to a closed pipe an error instead of the end of the process.
// stop releases the signals; call it once.
func WithSignals(parent context.Context, exit func(code int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var first time.Time
		for {
			select {
			case <-signals:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel()
				case time.Since(first) > oneSignal:
					exit(ExitInterrupted)
					return
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Reset(syscall.SIGPIPE)
		close(done)
		<-ended
		cancel()
	}
}
