// Command minioserver builds the pinned MinIO server, and runs it on loopback
// for as long as another command runs.
//
//	minioserver build
//	minioserver exec [--dir DIR] [--address HOST:PORT] -- COMMAND [ARGUMENT ...]
//
// build makes the cached binary if it is not there yet, and prints its path.
//
// exec builds it as well, starts a server, runs COMMAND, and stops the server
// after COMMAND has ended. COMMAND finds the server's address in
// VARVE_TEST_MINIO and its credentials in AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY. Without --dir the server's folder is a temporary one,
// without --address its port a free one.
//
// exec passes SIGINT, SIGTERM and SIGHUP to COMMAND and the processes that
// COMMAND has started. The server ends after them, so that COMMAND can still
// flush. The exit code is COMMAND's, 128 + the signal if one ended it, or 1 if
// the server could not be run.
//
// It owns the server of one exec; the package above it owns the rest. It never
// leaves a process behind, and on Linux not even when it is killed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/varvelog/varve/testenv/miniod"
)

var errUsage = errors.New("usage: minioserver build\n" +
	"       minioserver exec [--dir DIR] [--address HOST:PORT] -- COMMAND [ARGUMENT ...]")

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(os.Args[1:], signals)
	if err != nil {
		fmt.Fprintln(os.Stderr, "minioserver:", err)
	}
	os.Exit(code)
}

// run runs the command in args, and returns the exit code with the error to print.
func run(args []string, signals <-chan os.Signal) (int, error) {
	if len(args) == 0 {
		return 2, errUsage
	}
	switch args[0] {
	case "build":
		binary, err := build(signals)
		if err != nil {
			return 1, err
		}
		fmt.Println(binary)
		return 0, nil
	case "exec":
		config, err := parseExec(args[1:])
		if err != nil {
			return 2, err
		}
		return config.run(signals)
	default:
		return 2, fmt.Errorf("unknown command %q\n%w", args[0], errUsage)
	}
}

func build(signals <-chan os.Signal) (binary string, err error) {
	err = untilSignal(signals, func(ctx context.Context) error {
		binary, err = miniod.Build(ctx, os.Stderr)
		return err
	})
	return binary, err
}

// untilSignal runs work with a context that the first signal ends. It takes
// no signal after work has returned.
func untilSignal(signals <-chan os.Signal, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-signals:
			cancel(fmt.Errorf("ended by signal: %v", sig))
		case <-quit:
		}
	}()
	err := work(ctx)
	close(quit)
	<-done
	if cause := context.Cause(ctx); cause != nil {
		// A signal that came too late to stop the work still stops the
		// steps after it.
		err = cause
	}
	cancel(nil)
	return err
}
