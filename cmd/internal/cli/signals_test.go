package cli_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/cli"
)

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		exited := make(chan int, 1)
		ctx, stop := cli.WithSignals(t.Context(), func(code int) { exited <- code })
		if err := syscall.Kill(os.Getpid(), signal); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		select {
		case code := <-exited:
			t.Fatalf("the first %v ended with %d", signal, code)
		default:
		}
		// Those right after the first do not count: they are sent until one does.
		again := time.NewTicker(50 * time.Millisecond)
		for code := 0; code == 0; {
			select {
			case code = <-exited:
				if code != cli.ExitInterrupted {
					t.Fatalf("exit code %d, want %d", code, cli.ExitInterrupted)
				}
			case <-again.C:
				if err := syscall.Kill(os.Getpid(), signal); err != nil {
					t.Fatal(err)
				}
			}
		}
		again.Stop()
		stop()
	}
}

func TestStopGivesSignalsBack(t *testing.T) {
	ctx, stop := cli.WithSignals(t.Context(), func(int) { t.Error("exited") })
	stop()
	<-ctx.Done()
}

func TestAClosedPipeIsAnError(t *testing.T) {
	_, stop := cli.WithSignals(t.Context(), func(int) { t.Error("exited") })
	defer stop()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	if _, err := w.WriteString("x"); err == nil {
		t.Fatal("wrote to a pipe without a reader")
	}
}
