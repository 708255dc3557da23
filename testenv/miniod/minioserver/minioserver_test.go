package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv/miniod"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func needMinIO(t *testing.T) {
	t.Helper()
	if _, err := miniod.Find(); err != nil || testing.Short() {
		t.Skipf("needs MinIO, and no -short: %v", err)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{{}, {"start"}, {"exec"}, {"exec", "--port", "1", "--", "true"}} {
		if code, err := run(args, nil); code != 2 || !errors.Is(err, errUsage) {
			t.Errorf("run(%q) = %d, %v, want 2 and the usage", args, code, err)
		}
	}
}

func TestMissingCommandIsSaidBeforeAServerStarts(t *testing.T) {
	code, err := run([]string{"exec", "no-such-command"}, nil)
	if code != 1 || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("run = %d, %v", code, err)
	}
}

func TestExecGivesTheCommandAServerAndPassesItsExitCode(t *testing.T) {
	needMinIO(t)
	t.Setenv("AWS_SESSION_TOKEN", "of another cloud")
	out := t.TempDir() + "/environment"
	code, err := run([]string{"exec", "--", "sh", "-c", `env > "$1"; exit 7`, "sh", out}, nil)
	if code != 7 || err != nil {
		t.Fatalf("run = %d, %v, want 7", code, err)
	}
	env, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"VARVE_TEST_MINIO=127.0.0.1:", "AWS_ACCESS_KEY_ID=" + miniod.AccessKey, "AWS_SECRET_ACCESS_KEY="} {
		if !strings.Contains(string(env), "\n"+want) {
			t.Errorf("the command's environment lacks %s", want)
		}
	}
	if strings.Contains(string(env), "AWS_SESSION_TOKEN") {
		t.Error("a session token of other credentials reaches the command")
	}
}

func TestSignalReachesTheCommandWhileTheServerStillAnswers(t *testing.T) {
	needMinIO(t)
	signals := make(chan os.Signal, 1)
	dir := t.TempDir()
	ready := dir + "/ready"
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	// The command reports that it is ready, and at SIGTERM that the server's
	// port still takes a connection.
	script := `trap 'exec 3<>"/dev/tcp/${VARVE_TEST_MINIO%:*}/${VARVE_TEST_MINIO#*:}" && exit 5; exit 6' TERM
		echo > "$1"; while :; do sleep 0.01; done`
	go func() {
		_, err := os.ReadFile(ready)
		if err != nil {
			t.Error(err)
		}
		signals <- syscall.SIGTERM
	}()
	code, err := run([]string{"exec", "--dir", dir, "bash", "-c", script, "bash", ready}, signals)
	if code != 5 || err != nil {
		t.Errorf("run = %d, %v, want 5", code, err)
	}
}

func TestCommandThatASignalEndedHasAShellsExitCode(t *testing.T) {
	needMinIO(t)
	if code, err := run([]string{"exec", "sh", "-c", "kill -TERM $$"}, nil); code != 128+15 || err != nil {
		t.Errorf("run = %d, %v, want 143", code, err)
	}
}

func TestSignalBeforeTheCommandRunsEndsAll(t *testing.T) {
	needMinIO(t)
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGINT
	ran := t.TempDir() + "/ran"
	code, err := run([]string{"exec", "touch", ran}, signals)
	if code != 1 || err == nil || !strings.Contains(err.Error(), "interrupt") {
		t.Errorf("run = %d, %v", code, err)
	}
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the command ran: %v", err)
	}
}
