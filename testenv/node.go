package testenv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/proc"
)

const (
	readyTimeout = 60 * time.Second // fencing over a slow store included
	stopGrace    = 60 * time.Second // flushing included
)

// Varve defines how to run the varve binary.
type Varve struct {
	Path  string    // of the binary; empty: VarveBinary
	Args  []string  // arguments after the program's name (Run), or after `serve` (Start)
	Env   []string  // added to a clean environment: no VARVE_, AWS_ or MINIO_ variable, an empty home
	Stdin io.Reader // nil: empty
}

// Node is a running `varve serve`. Only the test goroutine may call its
// methods.
type Node struct {
	Kafka   string // 127.0.0.1:port of --listen
	HTTP    string // 127.0.0.1:port of --http
	DataDir string

	command proc.Command
	process *proc.Process
	stopped bool // by Stop, Kill or Wait: an end that the test wanted
}

// StartVarve runs `varve serve` with args and returns when it is ready. It adds
// --listen and --http (free ports) and --data-dir (a folder of the test),
// unless args have them. It kills the node at the test's end; a node that ends
// by itself before fails the test.
func StartVarve(t testing.TB, args ...string) *Node {
	t.Helper()
	return Varve{Args: args}.Start(t)
}

// Start is StartVarve with an environment.
func (v Varve) Start(t testing.TB) *Node {
	t.Helper()
	n := &Node{}
	args := append([]string{"serve"}, v.Args...)
	n.Kafka, args = argument(args, "--listen", func() string { return FreeAddr(t) })
	n.HTTP, args = argument(args, "--http", func() string { return FreeAddr(t) })
	n.DataDir, args = argument(args, "--data-dir", t.TempDir)
	n.command = v.command(t, args)
	t.Cleanup(func() { n.end(t) })
	n.Restart(t)
	return n
}

// argument returns the value of a flag in args. If they lack it, it appends it.
func argument(args []string, flag string, fallback func() string) (string, []string) {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, flag+"="); ok {
			return value, args
		}
		if arg == flag && i+1 < len(args) {
			return args[i+1], args
		}
	}
	value := fallback()
	return value, append(args, flag, value)
}

func (v Varve) command(t testing.TB, args []string) proc.Command {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		for _, prefix := range []string{"VARVE_", "AWS_", "MINIO_", "HOME=", "XDG_"} {
			if strings.HasPrefix(variable, prefix) {
				return true
			}
		}
		return false
	})
	env = append(env, "HOME="+t.TempDir()) // credentials files of the user stay out
	path := v.Path
	if path == "" {
		path = VarveBinary(t)
	}
	return proc.Command{Path: path, Args: args, Env: append(env, v.Env...), Stdin: v.Stdin}
}

// Restart starts the node again after its end, with the same arguments, hence
// the same addresses and data folder, and returns when it is ready.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	if n.process != nil && !n.stopped {
		t.Fatal("restart a node that runs: stop or kill it first")
	}
	process, err := proc.Start(n.command)
	if err != nil {
		t.Fatal(err)
	}
	n.process, n.stopped = process, false
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := process.AwaitReady(ctx, "http://"+n.HTTP+"/readyz"); err != nil {
		t.Fatalf("varve %s: %v", strings.Join(n.command.Args, " "), err) // the cleanup shows the log
	}
}

// Pid returns the process id.
func (n *Node) Pid() int { return n.process.Pid() }

// Log returns the last part of the node's output since its last start.
func (n *Node) Log() string { return n.process.Output() }

// Done is closed when the process has ended. Each Restart makes a new one.
func (n *Node) Done() <-chan struct{} { return n.process.Done() }

// Stop ends the node gracefully (SIGTERM). Any exit code but 0 fails the test.
func (n *Node) Stop(t testing.TB) {
	t.Helper()
	n.stopped = true
	if err := n.process.Stop(stopGrace); err != nil {
		t.Fatalf("stop varve: %v", err)
	}
}

// Kill ends the node as a crash would (SIGKILL). When it returns, the process
// has ended and its ports are free.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	n.stopped = true
	if err := n.process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// Wait waits until the node ends by itself and returns its exit code.
func (n *Node) Wait(t testing.TB) int {
	t.Helper()
	n.stopped = true
	return exitCode(t, n.process.Wait())
}

// end runs at the end of the test.
func (n *Node) end(t testing.TB) {
	if n.process == nil {
		return
	}
	select {
	case <-n.process.Done():
		if !n.stopped && !t.Failed() {
			t.Errorf("varve ended by itself: %v", n.process.Wait())
		}
	default:
		if err := n.process.Kill(); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("varve (pid %d) printed:\n%s", n.Pid(), n.Log())
	}
}

// Output is the result of a finished command.
type Output struct {
	Stdout, Stderr []byte
	Code           int
}

// Run runs the varve binary to its end. A command that takes longer than
// timeout is killed and fails the test.
func (v Varve) Run(t testing.TB, timeout time.Duration) Output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := v.command(t, v.Args)
	command.Stdout, command.Stderr, command.Direct = &stdout, &stderr, true
	process, err := proc.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-process.Done():
	case <-timer.C:
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
		t.Fatalf("varve %s: did not end within %v; it printed:\n%s%s",
			strings.Join(v.Args, " "), timeout, stdout.Bytes(), stderr.Bytes())
	}
	return Output{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Code: exitCode(t, process.Wait())}
}

// exitCode returns the exit code of a process from the error of Wait, -1 if a
// signal ended it.
func exitCode(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("run varve: %v", err)
	}
	return exit.ExitCode()
}
