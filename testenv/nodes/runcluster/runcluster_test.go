package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/miniod"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 90 * time.Second

var readyRow = regexp.MustCompile(`(?m)^(ingest|fetch)-1 +(\d+) .* ready +(0 1)?`)

// awaitTable waits until the last table has two nodes that are ready, other processes than
// those of before. It returns their process ids.
func awaitTable(t *testing.T, file string, before []string, done <-chan error) (pids []string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		default:
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		last := string(text[max(0, strings.LastIndex(string(text), "clients connect to")):])
		rows := readyRow.FindAllStringSubmatch(last, -1)
		if len(rows) == 2 && rows[0][3] == "0 1" && (before == nil || rows[0][2] != before[0]) {
			return []string{rows[0][2], rows[1][2]}
		}
	}
	text, _ := os.ReadFile(file)
	t.Fatalf("both nodes are never ready; it printed:\n%s", text)
	return nil
}

func TestAClusterRunsUntilASignalAndStartsDeadNodesAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("needs MinIO: run without -short")
	}
	if _, err := miniod.Find(); errors.Is(err, miniod.ErrNoBinary) {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	signals, done := make(chan os.Signal, 2), make(chan error, 1)
	go func() {
		done <- run(signals, []string{"--varve", testenv.VarveBinary(t), "--dir", filepath.Join(t.TempDir(), "data"), "--ingest", "1", "--fetch", "1",
			"--kafka-port", "0", "--http-port", "0", "--minio", "", "--nats", "", "--start-again", "0s"}, out)
	}()
	first := awaitTable(t, file, nil, done)
	pid, err := strconv.Atoi(first[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := awaitTable(t, file, first, done)
	if again[1] != first[1] {
		t.Errorf("the other node was started again: %v, %v", first, again)
	}
	signals <- syscall.SIGINT
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAClusterThatCannotStartSaysWhere(t *testing.T) {
	for _, args := range [][]string{{"--ingest", "0"}, {"more"}, {"--fetch", "-1"}} {
		if err := run(make(chan os.Signal), args, os.Stdout); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
