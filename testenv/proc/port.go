package proc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are below the range that Linux uses for outgoing connections (from
// 32768 up). So no connection of a busy test can take a port while the process
// that owns it restarts.
const (
	firstPort = 15000
	endPort   = 32000
)

var handedOut struct {
	sync.Mutex
	ports map[int]bool
}

// FreeAddr returns a loopback address, 127.0.0.1:port, on which nothing
// listens. It never returns the same one twice in a process. Two processes may
// by chance get the same one, so a start must still expect the port to be
// taken.
func FreeAddr() (string, error) {
	handedOut.Lock()
	defer handedOut.Unlock()
	if handedOut.ports == nil {
		handedOut.ports = make(map[int]bool)
	}
	var last error
	for range 1000 {
		port := firstPort + rand.IntN(endPort-firstPort)
		if handedOut.ports[port] {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if last = probe(addr); last == nil {
			handedOut.ports[port] = true
			return addr, nil
		}
	}
	if last == nil {
		last = errors.New("all were handed out before")
	}
	return "", fmt.Errorf("find a free port in %d to %d: %w", firstPort, endPort-1, last)
}

func probe(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return listener.Close()
}
