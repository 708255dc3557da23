// Package proc runs the server processes that tests and local runs need.
//
// It owns each process it starts, from fork to reaping: Stop and Kill return
// only when the process has ended. On Linux the kernel kills the process when
// this one dies, however it dies. It keeps the last part of the process's
// output.
//
// It never ends a process that it did not start, and never looks one up by
// name.
package proc

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// ErrForced: a process did not end in time after SIGTERM and was killed.
var ErrForced = errors.New("did not end in time and was killed")

// pipeDelay is how long Wait goes on reading the output of an ended process
// while a grandchild still holds the pipe.
const pipeDelay = 2 * time.Second

// Command defines the process to start.
type Command struct {
	Path   string
	Args   []string  // without the program's own name
	Env    []string  // nil: the environment of this process
	Dir    string    // empty: the folder of this process
	Stdin  io.Reader // nil: empty
	Stdout io.Writer // nil: kept for Process.Output only
	Stderr io.Writer // nil: kept for Process.Output only
	// Direct hands Stdout and Stderr over as they are, without a pipe if they
	// are files, and keeps nothing for Process.Output.
	Direct bool
}

// Process is a process that was started. Its methods may be called
// concurrently.
type Process struct {
	path string
	cmd  *exec.Cmd
	log  tail
	done chan struct{} // closed after err is set, when the process is reaped
	err  error
}

// Start starts c in a process group of its own: a Ctrl-C on the terminal
// reaches this process only, which then decides the order in which to stop the
// others.
func Start(c Command) (*Process, error) {
	p := &Process{path: c.Path, done: make(chan struct{})}
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdin = c.Env, c.Dir, c.Stdin
	p.cmd.WaitDelay = pipeDelay
	p.cmd.SysProcAttr = processAttributes()
	if c.Direct {
		p.cmd.Stdout, p.cmd.Stderr = c.Stdout, c.Stderr
	} else {
		p.cmd.Stdout, p.cmd.Stderr = p.log.tee(c.Stdout), p.log.tee(c.Stderr)
	}
	started := make(chan error)
	go p.own(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

// own starts the process and reaps it, on one thread that it holds for as long
// as the process lives. The parent-death signal of Linux fires when the thread
// that forked ends, not the process.
func (p *Process) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	err := p.cmd.Wait()
	if !errors.Is(err, exec.ErrWaitDelay) { // caused by a grandchild; the process itself ended well
		p.err = err
	}
	close(p.done)
}

// Pid returns the process id. After the end it may be another process's.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and is reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end and returns nil for exit code 0, else an
// *exec.ExitError.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Output returns the last part of the process's output so far, both streams as
// they came.
func (p *Process) Output() string { return p.log.String() }

// Signal sends sig to the process. A process that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	return p.endedOr(p.cmd.Process.Signal(sig), sig)
}

// SignalGroup sends sig to the process and those it has started, as a terminal
// does.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	select {
	case <-p.done: // another group may have the id by now
		return nil
	default:
		return p.endedOr(signalGroup(p.Pid(), sig), sig)
	}
}

func (p *Process) endedOr(err error, sig syscall.Signal) error {
	if err == nil || ended(err) {
		return nil
	}
	return fmt.Errorf("send %v to %s (pid %d): %w", sig, p.path, p.Pid(), err)
}

// Kill kills the process (SIGKILL) and waits until it is reaped.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop asks the process to end (SIGTERM), waits, and returns the error of Wait.
// After grace it kills the process and returns ErrForced.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("stop %s (pid %d) within %v: %w", p.path, p.Pid(), grace, ErrForced)
}
