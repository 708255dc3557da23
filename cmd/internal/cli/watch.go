package cli

import (
	"context"
	"fmt"
	"io"
	"time"
)

const (
	watchEvery    = 100 * time.Millisecond
	progressEvery = time.Second
)

// watcher looks after a sender while it works: it shows how far it is, tells of
// an interruption, and gives up when nothing is acknowledged for too long. The
// client's own time-out is of no use for that: it counts from a record's
// timestamp, which may be years ago.
//
// Until stop returns, it is the only one to write to out.
type watcher struct {
	sender   *sender
	patience time.Duration
	out      io.Writer // standard error
	progress bool      // show it
	terminal bool      // in one place

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
	acked, moved, shown := int64(0), time.Now(), time.Now()
	for {
		select {
		case <-w.done:
			w.erase()
			return
		case <-interruption:
			interruption = nil
			w.erase()
			fmt.Fprintln(w.out, "varve: interrupted; waiting for what was read to be acknowledged, again to give up")
		case now := <-tick.C:
			if n := w.sender.acked.Load(); n != acked || n == w.sender.sent.Load() {
				acked, moved = n, now
			} else if now.Sub(moved) > w.patience {
				moved = now
				w.sender.giveUp(fmt.Errorf("nothing was acknowledged for %v: %w", w.patience, silence(w.sender.client, "cannot store records now")))
			}
			if w.progress && now.Sub(shown) >= progressEvery {
				shown = now
				w.show()
			}
		}
	}
}

func (w *watcher) show() {
	w.erase()
	fmt.Fprintf(w.out, "varve: %s", w.sender.rates())
	if !w.terminal {
		fmt.Fprintln(w.out)
	}
}

// erase takes the progress off a terminal's line.
func (w *watcher) erase() {
	if w.progress && w.terminal {
		fmt.Fprint(w.out, "\r\x1b[K")
	}
}
