package stored

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

const (
	readyTimeout = 2 * time.Minute
	stopGrace    = 30 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Server is a running store, one process. Its methods may not be called concurrently.
type Server struct {
	binary  string
	args    []string
	env     []string
	address string
	output  io.Writer
	process *proc.Process
}

// Start starts a server of the binary that Build returned, and returns when it answers. It
// keeps its data in dir. Its own output goes to
// output, which may be nil.
func (p Program) Start(ctx context.Context, binary, dir string, output io.Writer) (*Server, error) {
	address, err := proc.FreeAddr()
	if err != nil {
		return nil, err
	}
	args, env, err := p.run(dir, address)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	s := &Server{binary: binary, args: args, env: env, address: address, output: output}
	if err := s.Restart(ctx); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	return s, nil
}

// Restart starts the server again after Stop or Kill, on the same data and address, and
// returns when it answers.
func (s *Server) Restart(ctx context.Context) error {
	process, err := proc.Start(proc.Command{Path: s.binary, Args: s.args, Env: append(slices.Clone(os.Environ()), s.env...),
		Stdout: s.output, Stderr: s.output})
	if err != nil {
		return err
	}
	s.process = process
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		last := s.ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-process.Done():
			return fmt.Errorf("it ended: %w\n%s", errors.Join(process.Wait(), last), process.Output())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it does not get ready: %w\n%s", last, process.Output()), process.Kill())
		case <-time.After(pollInterval):
		}
	}
}

// ready asks for the list of buckets without a signature: any answer of a store that can
// refuse that will do, and no answer of one that is still starting.
func (s *Server) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("answers %s", response.Status)
	}
	return nil
}

// Address returns the server's loopback host:port, the same after a Restart.
func (s *Server) Address() string { return s.address }

// Pid returns the process id.
func (s *Server) Pid() int { return s.process.Pid() }

// Done is closed when the server has ended. Each Restart makes a new one.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Output returns the last part of the server's output since its last start.
func (s *Server) Output() string { return s.process.Output() }

// Stop asks the server to end and waits until it has. No error if it has ended before.
func (s *Server) Stop() error {
	select {
	case <-s.process.Done():
		return nil
	default:
		return s.process.Stop(stopGrace)
	}
}

// Kill kills the server as a crash would (SIGKILL) and waits until it is gone.
func (s *Server) Kill() error { return s.process.Kill() }

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // of proc.FreeAddr
	return port
}
