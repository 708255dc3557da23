package miniod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

// AddressVariable names an environment variable with the host:port of a running
// server for tests to use. Its credentials are then in AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY.
const AddressVariable = "VARVE_TEST_MINIO"

// The root credentials of every server that Start starts. They are no secret:
// the servers listen on loopback only and end with the process that started them.
const (
	AccessKey = "varve"
	SecretKey = "varve-on-loopback"
)

const (
	readyTimeout = 60 * time.Second
	stopGrace    = 20 * time.Second
)

// Config says which server to start.
type Config struct {
	Binary  string    // as Find or Build return it
	Dir     string    // where it keeps buckets; made if absent
	Address string    // loopback host:port; empty: a free one
	Output  io.Writer // takes its output; nil: kept for Server.Output only
}

// Server is a MinIO server, one process with one drive. Its methods may not be
// called concurrently.
type Server struct {
	config  Config
	process *proc.Process
}

// Start starts a server and returns when it answers.
func Start(ctx context.Context, config Config) (*Server, error) {
	if config.Address != "" {
		if err := checkLoopback(config.Address); err != nil {
			return nil, err
		}
		return start(ctx, config)
	}
	// Between finding a port and listening on it another process may take it.
	var server *Server
	var err error
	for range 5 {
		if config.Address, err = proc.FreeAddr(); err != nil {
			return nil, err
		}
		if server, err = start(ctx, config); err == nil || !errors.Is(err, errAddressTaken) {
			return server, err
		}
	}
	return nil, err
}

var errAddressTaken = errors.New("address is in use; end the process that listens there, or choose another")

func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("MinIO's address: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("MinIO's address %s is not on loopback; its credentials are no secret", address)
	}
	return nil
}

func start(ctx context.Context, config Config) (*Server, error) {
	// A server that listens there already would pass for ours.
	listener, err := net.Listen("tcp", config.Address)
	if err != nil {
		return nil, fmt.Errorf("start MinIO on %s: %w (%w)", config.Address, errAddressTaken, err)
	}
	if err := listener.Close(); err != nil {
		return nil, fmt.Errorf("start MinIO on %s: %w", config.Address, err)
	}
	server := &Server{config: config}
	if err := server.Restart(ctx); err != nil {
		return nil, err
	}
	return server, nil
}

// Restart starts the server again after Stop or Kill, on the same folder and
// address, and returns when it answers.
func (s *Server) Restart(ctx context.Context) error {
	if s.process != nil && running(s.process) {
		return errors.New("restart MinIO: it still runs")
	}
	if err := os.MkdirAll(s.config.Dir, 0o755); err != nil {
		return fmt.Errorf("make MinIO's folder: %w", err)
	}
	process, err := proc.Start(proc.Command{
		Path: s.config.Binary,
		Args: []string{"server", "--quiet", "--anonymous", "--address", s.config.Address,
			// Else it would take certificates of the user's home.
			"--certs-dir", filepath.Join(s.config.Dir, ".certs"), filepath.Join(s.config.Dir, "drive")},
		Env:    serverEnv(),
		Stdout: s.config.Output,
		Stderr: s.config.Output,
	})
	if err != nil {
		return err
	}
	s.process = process
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := process.AwaitReady(ready, "http://"+s.config.Address+"/minio/health/ready"); err != nil {
		return errors.Join(fmt.Errorf("start MinIO on %s: %w\n%s", s.config.Address, err, process.Output()), process.Kill())
	}
	return nil
}

// serverEnv is this process's environment without the variables that configure
// a MinIO server, plus: our credentials, no console, no look for updates.
func serverEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MINIO_") })
	return append(env, "MINIO_ROOT_USER="+AccessKey, "MINIO_ROOT_PASSWORD="+SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off")
}

func running(p *proc.Process) bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// Address returns the server's loopback host:port, the same after a Restart.
func (s *Server) Address() string { return s.config.Address }

// Pid returns the process id.
func (s *Server) Pid() int { return s.process.Pid() }

// Done is closed when the server has ended. Each Restart makes a new one.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Output returns the last part of the server's output since its last start.
func (s *Server) Output() string { return s.process.Output() }

// Stop asks the server to end and waits until it has. No error if it has
// ended before.
func (s *Server) Stop() error {
	if !running(s.process) {
		return nil
	}
	if err := s.process.Stop(stopGrace); err != nil {
		return fmt.Errorf("stop MinIO: %w", err)
	}
	return nil
}

// Kill kills the server as a crash would (SIGKILL) and waits until it is gone.
func (s *Server) Kill() error { return s.process.Kill() }
