package listener

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one client connection. Its reader owns all fields that are not marked
// otherwise. Its writer takes the requests off the queue in order.
type conn struct {
	server   *Server
	security Security
	nc       net.Conn
	in       *bufio.Reader
	ip       string
	account  *account      // its memory of the budget
	queue    chan *Request // from reader to writer, in order of arrival
	window   *window       // shared
	wg       sync.WaitGroup

	ctx      context.Context // ends with the connection
	fail     context.CancelCauseFunc
	polls    context.Context // ends with ctx, and when the server drains
	endPolls context.CancelFunc

	draining atomic.Bool
	answered atomic.Int64 // when the last answer was written, Unix nanoseconds

	authenticates *time.Timer // ends it if its client does not authenticate; nil: it need not

	beyond       error         // the limit that it is beyond; nil: none. It never changes
	proves       *time.Timer   // ends it if it is beyond a limit and proves nothing
	atEnd        func()        // called once the connection has ended; nil: there is none
	proven       int           // the largest frame received so far, up to maxProven
	intervalFrom int64         // bytes of the frame that had come when the interval began
	last         chan struct{} // settled of the request before; nil at first
}

func newConn(s *Server, nc net.Conn, client *Client, security Security) *conn {
	c := &conn{server: s, security: security, ip: client.Host, queue: make(chan *Request, maxInFlight), window: newWindow()}
	c.ctx, c.fail = context.WithCancelCause(s.ctx)
	c.polls, c.endPolls = context.WithCancel(c.ctx)
	c.account = s.budget.open(client, c.fail)
	if security.TLS != nil {
		nc = tls.Server(&paced{Conn: nc, sent: &c.account.sent}, security.TLS())
	}
	c.nc, c.in = nc, bufio.NewReaderSize(nc, tinyFrame)
	c.answered.Store(time.Now().UnixNano())
	return c
}

// client is the sender of the next request, as far as the connection has shown it.
func (c *conn) client() *Client { return c.account.client.Load() }

// isNow changes the sender of the requests that follow. The reader calls it.
func (c *conn) isNow(client *Client) { c.account.client.Store(client) }

func (c *conn) lastAnswer() time.Time { return time.Unix(0, c.answered.Load()) }

// serve runs the connection until it ends, and returns the reason: an error of
// the network if the client hung up, ErrStopping if the server closed it. All
// its goroutines have ended by then.
func (c *conn) serve() error {
	closed := make(chan struct{})
	context.AfterFunc(c.ctx, func() {
		defer close(closed)
		c.nc.Close()
		c.window.close()
	})
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	close(c.queue)
	if errors.Is(err, ErrStopping) {
		<-written // or DrainTimeout is over, which ends c.ctx
	}
	c.fail(err)
	<-written
	c.wg.Wait()
	c.endPolls()
	<-closed
	return context.Cause(c.ctx)
}

// read begins requests in the order they arrive.
func (c *conn) read() error {
	if err := c.secure(); err != nil {
		return err
	}
	for c.window.awaitRoom() {
		f, err := c.readFrame(c.ctx)
		if err != nil {
			return err
		}
		r, err := c.decode(c.ctx, &f)
		if err == nil {
			err = c.awaitOpen(r)
		}
		if err == nil {
			err = c.takeAnswer(r)
		}
		if err != nil { // no handler has the request
			r.memory.Release()
			r.release()
			return err
		}
		r.before, c.last = c.last, r.settled
		c.window.enter()
		c.queue <- r
		r.api.Begin(c.ctx, r)
	}
	return context.Cause(c.ctx)
}

// awaitOpen waits until clients may be answered. Requests of other nodes do not wait: the
// cluster may have to let this one in first.
func (c *conn) awaitOpen(r *Request) error {
	if r.api.Private {
		return nil
	}
	select {
	case <-c.server.open:
		return nil
	case <-c.polls.Done():
		return ErrStopping
	}
}

// takeAnswer takes memory for an answer that may be far larger than the request. It
// takes as much as a recent answer took, and the same for the data to encode.
func (c *conn) takeAnswer(r *Request) error {
	n := min(2*r.api.answers.Load(), c.server.budget.parts[answers].size)
	if n <= tinyFrame {
		return nil
	}
	return r.charge.takeStep(c.ctx, answers, n, n)
}

// drain makes the reader stop before its next frame, and ends long polls.
func (c *conn) drain() {
	c.draining.Store(true)
	c.nc.SetReadDeadline(time.Unix(1, 0))
	c.endPolls()
}

// write answers requests in the order they arrived. Once the connection failed or the
// server closed it, it sends no further answer: a client would take the requests
// before that one as done.
func (c *conn) write() {
	for r := range c.queue {
		size := 0
		select {
		case a := <-r.ready:
			size = a.size
			if c.ctx.Err() != nil {
				break
			}
			if err := c.deliver(r, a); err != nil {
				c.fail(err)
			}
		case <-c.ctx.Done():
		}
		r.release()
		close(r.settled)
		c.window.leave(size)
	}
}

func (c *conn) deliver(r *Request, a answer) error {
	if a.hangUp != nil {
		return a.hangUp
	}
	if a.size > 0 {
		if err := c.send(a); err != nil {
			return err
		}
	}
	c.answered.Store(time.Now().UnixNano())
	c.server.metrics.Request(Observation{
		API: r.api.name(), Version: r.Version, Code: a.code,
		Took: c.server.now().Sub(r.received), BytesIn: r.size, BytesOut: a.size,
	})
	return r.end
}

// send writes an answer. For one that is not tiny it checks each sendLook how
// fast the client takes it, because it holds memory that others may wait for.
func (c *conn) send(a answer) error {
	end := time.Now().Add(c.server.config.IdleTimeout + c.server.transferTime(a.size))
	if a.size > tinyFrame {
		c.account.sends(int64(a.size))
		defer c.account.sends(0)
	}
	write := func() (int64, error) { return a.buffers.WriteTo(c.nc) }
	if _, encrypted := c.nc.(*tls.Conn); encrypted || a.size <= tinyFrame { // below TLS, paced looks
		c.nc.SetWriteDeadline(end)
		_, err := write()
		return slow(err)
	}
	return slow(pace(c.nc, end, &c.account.sent, write))
}

// slow names the end of the time for an answer.
func slow(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlowReader
	}
	return err
}
