package cli

import (
	"context"
	"fmt"
	"time"
)

const watchEvery = 100 * time.Millisecond

// watcher watches over a sender while it works. It shows the progress, prints a
// note about an interruption, and gives up when nothing is acknowledged for too
// long. The client's own time-out cannot do that: it counts from a record's
// timestamp, which may be years ago.
//
// Until stop returns, only the watcher may write to standard error.
type watcher struct {
	sender   *sender
	patience time.Duration
	meter    *meter

	done  chan struct{} // closed by stop
	ended chan struct{} // closed when run has ended
}

// start begins to watch; the end of ctx is the interruption. Call stop.
func (w *watcher) start(ctx context.Context) {
	w.done, w.ended = make(chan struct{}), make(chan struct{})
	go w.run(ctx)
}

func (w *watcher) stop() {
	close(w.done)
	<-w.ended
}

func (w *watcher) run(ctx context.Context) {
	defer close(w.ended)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	interruption := ctx.Done()
	acked, moved := int64(0), time.Now()
	for {
		select {
		case <-w.done:
			w.meter.erase()
			return
		case <-interruption:
			interruption = nil
			w.meter.erase()
			fmt.Fprintln(w.meter.out, "varve: interrupted; waiting until all records read so far are acknowledged; interrupt again to give up")
		case now := <-tick.C:
			if n := w.sender.acked.Load(); n != acked || n == w.sender.sent.Load() {
				acked, moved = n, now
			} else if now.Sub(moved) > w.patience {
				moved = now
				w.sender.giveUp(fmt.Errorf("nothing was acknowledged for %v: %w", w.patience, silence(w.sender.client, "cannot store records now")))
			}
			w.meter.tick(now)
		}
	}
}
