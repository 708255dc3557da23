package proc_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv/proc"
)

// The test binary plays the processes that the tests start.
func TestMain(m *testing.M) {
	switch os.Getenv("PROC_TEST_ROLE") {
	case "":
		goleak.VerifyTestMain(m)
	case "polite":
		fmt.Println("ready")
		time.Sleep(time.Hour) // SIGTERM ends it
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "exit 3":
		fmt.Println("out")
		fmt.Fprintln(os.Stderr, "err")
		os.Exit(3)
	case "parent":
		child, err := proc.Start(role("polite"))
		if err != nil {
			panic(err)
		}
		fmt.Println(child.Pid())
		time.Sleep(time.Hour)
	}
}

func role(name string) proc.Command {
	return proc.Command{Path: os.Args[0], Env: append(os.Environ(), "PROC_TEST_ROLE="+name)}
}

// start starts a role and waits for its first line of output.
func start(t *testing.T, name string) (*proc.Process, string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	command := role(name)
	command.Stdout = w
	p, err := proc.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("read first line of %q: %v", name, err)
	}
	return p, strings.TrimSpace(line)
}

func TestWaitReportsExitCodeAndOutputOfBothStreams(t *testing.T) {
	p, err := proc.Start(role("exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("Wait = %v, want exit code 3", err)
	}
	if got := p.Output(); got != "out\nerr\n" {
		t.Errorf("Output = %q", got)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("Signal after the end: %v", err)
	}
	if err := p.SignalGroup(syscall.SIGTERM); err != nil {
		t.Errorf("SignalGroup after the end: %v", err)
	}
}

func TestStopReturnsWhenTheProcessIsGone(t *testing.T) {
	p, _ := start(t, "polite")
	if err := p.Stop(time.Minute); err == nil || errors.Is(err, proc.ErrForced) {
		t.Errorf("Stop = %v, want the SIGTERM it died of", err)
	}
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("pid %d after Stop: %v, want no such process", p.Pid(), err)
	}
}

func TestStopKillsAProcessThatDoesNotListen(t *testing.T) {
	p, _ := start(t, "deaf")
	if err := p.Stop(50 * time.Millisecond); !errors.Is(err, proc.ErrForced) {
		t.Errorf("Stop = %v, want ErrForced", err)
	}
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("pid %d after Stop: %v, want no such process", p.Pid(), err)
	}
}

func TestProcessDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the parent-death signal is Linux's")
	}
	parent, line := start(t, "parent")
	child, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("child before: %v", err)
	}
	if err := parent.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); alive(child); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("child %d lives on after its parent", child)
		}
	}
}

// alive reports whether pid runs. An orphan that is not reaped yet is dead.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestStartOfMissingProgramNamesIt(t *testing.T) {
	_, err := proc.Start(proc.Command{Path: "/no/such/program"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("Start = %v", err)
	}
}

func TestFreeAddrIsLoopbackFreeAndNeverTheSame(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		addr, err := proc.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was handed out twice", addr)
		}
		seen[addr] = true
		if !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Fatalf("%s is not on loopback", addr)
		}
	}
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}
