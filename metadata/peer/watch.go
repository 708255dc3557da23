package peer

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// watch is a goroutine that waits for the end of a connection on which no request is under
// way.
type watch struct {
	over  atomic.Bool   // it has noticed the end, or is not wanted any more
	ended error         // of the connection, once done is closed
	done  chan struct{} // closed when the goroutine has ended
}

// Watch calls onEnd, on another goroutine, when the other end closes the connection before
// the next request. That request, or Close, ends the watch and waits for onEnd, which must not
// use the connection. There is no other watch.
func (c *Conn) Watch(onEnd func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &watch{done: make(chan struct{})}
	c.watch = w
	go func() {
		defer close(w.done)
		_, err := c.in.Peek(1)
		if err == nil {
			err = fmt.Errorf("%w: an answer to no request", ErrMalformed)
		}
		first := w.over.CompareAndSwap(false, true)
		if !first && errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		w.ended = err
		_ = c.nc.Close()
		if first && !c.closed.Load() {
			onEnd()
		}
	}()
}

// unwatch ends a watch, if there is one. The error is that the connection has ended since.
func (c *Conn) unwatch() error {
	w := c.watch
	if w == nil {
		return nil
	}
	c.watch = nil
	w.over.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	<-w.done
	if w.ended != nil {
		return fmt.Errorf("%w: %w", ErrEnded, w.ended)
	}
	return c.nc.SetReadDeadline(time.Time{})
}

// Close closes the connection. A request under way ends with an error.
func (c *Conn) Close() error {
	c.closed.Store(true)
	err := c.nc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.unwatch()
	return err
}
