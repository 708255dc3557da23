package listener

import "sync"

// window limits the work under way of one connection: requests begun and not
// yet written, and bytes of finished answers that wait for the client to read
// them.
type window struct {
	mu      sync.Mutex
	changed sync.Cond
	guarded struct {
		requests int
		unread   int
		closed   bool
	}
}

func newWindow() *window {
	w := &window{}
	w.changed.L = &w.mu
	return w
}

// awaitRoom waits for room for another request. It reports false once the window
// is closed.
func (w *window) awaitRoom() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := &w.guarded
	for !g.closed && (g.requests >= maxInFlight || g.unread >= maxUnwritten) {
		w.changed.Wait()
	}
	return !g.closed
}

// enter accounts for a request. Only the reader that awaited room enters.
func (w *window) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guarded.requests++
}

// finished accounts for an answer of n bytes that waits to be written.
func (w *window) finished(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guarded.unread += n
}

// leave accounts for an answer of n bytes that was written or dropped.
func (w *window) leave(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guarded.unread -= n
	w.guarded.requests--
	w.changed.Signal()
}

func (w *window) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.guarded.requests == 0
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.guarded.closed = true
	w.changed.Broadcast()
}
