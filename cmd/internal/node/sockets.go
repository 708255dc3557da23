package node

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// sockets are the listening sockets of a process. They outlive a start of the node within it,
// so that clients that connect in between wait, and are not refused.
type sockets struct{ all []socket }

type socket struct {
	address  string
	flag     string
	listener *net.TCPListener
}

// listen opens a socket, or lends the one that is open. flag is the setting that an error
// names.
func (s *sockets) listen(address, flag string, turn int) (net.Listener, error) {
	for _, k := range s.all {
		if k.address == address && k.flag == flag {
			if turn--; turn < 0 {
				return lent{k.listener}, k.listener.SetDeadline(time.Time{})
			}
		}
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w; if the port is taken, stop the process that uses it, or give another address with %s", err, flag)
	}
	s.all = append(s.all, socket{address, flag, ln.(*net.TCPListener)})
	return lent{ln.(*net.TCPListener)}, nil
}

// close closes those of a flag, so that clients are refused.
func (s *sockets) close(flag string) {
	for _, k := range s.all {
		if k.flag == flag {
			_ = k.listener.Close()
		}
	}
}

// The settings of sockets.
const (
	listenFlag = "--listen"
	httpFlag   = "--http"
)

// lent is a socket for one start of the node.
type lent struct{ *net.TCPListener }

// Close ends Accept, and leaves the socket open.
func (l lent) Close() error { return l.SetDeadline(time.Unix(1, 0)) }

// Accept implements net.Listener.
func (l lent) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return nil, net.ErrClosed
	}
	return c, err
}
