// Package natsd runs a NATS server in this process, for tests and local runs of
// several nodes.
//
// It owns the server and its port, and promises that nothing of it is left after
// Stop. It listens on loopback, without accounts.
//
// It keeps nothing: a server that starts again has forgotten all.
package natsd

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/varvelog/varve/testenv/proc"
)

const readyTimeout = 60 * time.Second

// Server is a server that runs, or is stopped. Its methods may not be called concurrently.
type Server struct {
	address string
	server  *server.Server // nil: it is stopped
}

// Start starts a server at a loopback host:port; empty: a free one.
func Start(address string) (*Server, error) {
	if address == "" {
		var err error
		if address, err = proc.FreeAddr(); err != nil {
			return nil, err
		}
	}
	s := &Server{address: address}
	return s, s.Restart()
}

// Address returns the host:port of the server, the same after a Restart.
func (s *Server) Address() string { return s.address }

// URL returns the address in the form of varve's --nats.
func (s *Server) URL() string { return "nats://" + s.address }

// Restart starts the server again after Stop.
func (s *Server) Restart() error {
	if s.server != nil {
		return errors.New("restart NATS: it still runs")
	}
	host, text, err := net.SplitHostPort(s.address)
	if err != nil {
		return fmt.Errorf("address of NATS: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("address of NATS: %w", err)
	}
	started, err := server.NewServer(&server.Options{Host: host, Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		return fmt.Errorf("start NATS on %s: %w", s.address, err)
	}
	started.Start()
	if !started.ReadyForConnections(readyTimeout) {
		started.Shutdown()
		started.WaitForShutdown()
		return fmt.Errorf("NATS on %s is not ready within %v; is the port taken?", s.address, readyTimeout)
	}
	s.server = started
	return nil
}

// Stop ends the server and all its connections. No error, and no effect, if it is stopped.
func (s *Server) Stop() {
	if s.server == nil {
		return
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
	s.server = nil
}
