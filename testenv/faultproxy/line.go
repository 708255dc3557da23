package faultproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

// Line is a proxy before one TCP listener. While it is cut, it accepts connections and
// passes nothing on, in no direction. Afterwards it passes on all that was held, as TCP
// does over a network that was away. While it is down, it refuses connections, as the
// machine of a process does that has ended.
type Line struct {
	address string
	target  string
	sender  func(remote net.Addr) string
	running sync.WaitGroup

	mu struct {
		sync.Mutex
		listener net.Listener // nil: it is down
		changed  *sync.Cond
		closed   bool
		all      bool     // connections of all senders are cut
		cut      []string // of these
		held     int      // chunks of data that met a cut
		conns    map[net.Conn]bool
	}
}

// StartLine starts a line before target, a host:port. Sender names the process at the other
// end of a connection, "" if it is not known. It may be nil: then none is known.
func StartLine(target string, sender func(remote net.Addr) string) (*Line, error) {
	address, err := proc.FreeAddr() // no connection takes the port while the line is down
	if err != nil {
		return nil, err
	}
	l := &Line{address: address, target: target, sender: sender}
	l.mu.changed = sync.NewCond(&l.mu)
	l.mu.conns = map[net.Conn]bool{}
	return l, l.Up()
}

// Address is the host:port that the line listens on, always the same.
func (l *Line) Address() string { return l.address }

// Up has the line accept connections again.
func (l *Line) Up() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.listener != nil || l.mu.closed {
		return nil
	}
	listener, err := listen(l.address)
	if err != nil {
		return fmt.Errorf("start a line to %s: %w", l.target, err)
	}
	l.mu.listener = listener
	l.running.Go(func() { l.accept(listener) })
	return nil
}

// listen waits while the address is in use. A process that is being started has the
// descriptors of this one until its program runs, that of a closed listener among them.
func listen(address string) (net.Listener, error) {
	for end := time.Now().Add(freeLimit); ; time.Sleep(freePause) {
		listener, err := net.Listen("tcp", address)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return listener, err
		}
	}
}

const freeLimit, freePause = 20 * time.Second, 20 * time.Millisecond

// Down has the line refuse connections, and resets those there are.
func (l *Line) Down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.downLocked()
}

func (l *Line) downLocked() {
	if l.mu.listener != nil {
		_ = l.mu.listener.Close() // it was open, so this does not fail
		l.mu.listener = nil
	}
	l.breakLocked()
}

// Cut cuts the connections of some senders, or all if none is named. Earlier cuts end.
func (l *Line) Cut(senders ...string) { l.set(len(senders) == 0, senders) }

// Heal ends all cuts.
func (l *Line) Heal() { l.set(false, nil) }

func (l *Line) set(all bool, cut []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.all, l.mu.cut = all, cut
	l.mu.changed.Broadcast()
}

// Held returns how often data met a cut.
func (l *Line) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.held
}

// Break resets all connections. New ones pass.
func (l *Line) Break() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.breakLocked()
}

func (l *Line) breakLocked() {
	for conn := range l.mu.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// Close ends the line and all its connections.
func (l *Line) Close() {
	l.mu.Lock()
	l.mu.closed = true
	l.downLocked()
	l.mu.changed.Broadcast()
	l.mu.Unlock()
	l.running.Wait()
}

func (l *Line) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // it is down
		}
		l.running.Go(func() { l.relay(conn) })
	}
}

// relay joins a connection with one to the target.
func (l *Line) relay(conn net.Conn) {
	sender := ""
	if l.sender != nil {
		sender = l.sender(conn.RemoteAddr())
	}
	defer l.drop(conn)
	if !l.keep(conn) || !l.pass(sender, false) { // a cut holds the dial, too
		return
	}
	out, err := net.Dial("tcp", l.target)
	if err != nil {
		return // as the client would see without a line, but for the accept
	}
	defer l.drop(out)
	if !l.keep(out) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.copy(out, conn, sender) })
	both.Go(func() { l.copy(conn, out, sender) })
	both.Wait()
}

// keep notes a connection that Break ends. It returns false while the line is down.
func (l *Line) keep(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.conns[conn] = true
	return l.mu.listener != nil
}

func (l *Line) drop(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.conns, conn)
	_ = conn.Close() // Break may have closed it
}

// copy passes on the bytes of one direction, and its end.
func (l *Line) copy(to, from net.Conn, sender string) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if !l.pass(sender, n > 0) {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if errors.Is(err, io.EOF) {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		}
		if err != nil { // a reset goes to the other end
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = to.Close()
			return
		}
	}
}

// pass waits until the sender is not cut. It returns false after Close.
func (l *Line) pass(sender string, data bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for met := false; !l.mu.closed && (l.mu.all || slices.Contains(l.mu.cut, sender)); l.mu.changed.Wait() {
		if data && !met {
			l.mu.held++
			met = true
		}
	}
	return !l.mu.closed
}
