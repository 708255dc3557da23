package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/varvelog/varve/cmd/internal/node"
)

// usageError is a command line or configuration that cannot be carried out.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

var (
	// errUnsent: at least one record was read and is not known to be stored.
	errUnsent = errors.New("records were not acknowledged")
	// errInterrupted: the user ended the command before its work was done.
	errInterrupted = errors.New("interrupted")
	// errStdoutClosed: the reader of the results has closed the pipe.
	errStdoutClosed = errors.New("standard output closed")
)

// servedError is the error with which a node ended.
type servedError struct{ err error }

func (e servedError) Error() string { return e.err.Error() }
func (e servedError) Unwrap() error { return e.err }

// code returns the exit code, on which a supervisor decides.
func (e servedError) code() int {
	switch node.EndingOf(e.err) {
	case node.TakenOver:
		return ExitTakenOver
	case node.Permanent:
		return ExitPermanent
	}
	return ExitFailure
}

func exitCode(err error) int {
	var usage usageError
	var served servedError
	switch {
	case errors.As(err, &served):
		return served.code()
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, errUnsent):
		return ExitUnsent
	case errors.Is(err, errInterrupted):
		return ExitInterrupted
	}
	return ExitFailure
}

// oneLine returns the error's text without line breaks: libraries put them in,
// and joined errors have one line each.
func oneLine(err error) string {
	var text strings.Builder
	for line := range strings.Lines(err.Error()) {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			continue
		}
		if before := text.String(); strings.HasSuffix(before, ":") {
			text.WriteString(" ")
		} else if before != "" {
			text.WriteString("; ")
		}
		text.WriteString(line)
	}
	return text.String()
}

// interrupted replaces an error that only reports that ctx ended.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

// resultWriter is standard output. It distinguishes a reader that has gone
// (head, less) from a failure: only for standard output does a broken pipe mean
// "enough".
type resultWriter struct{ w io.Writer }

func (r resultWriter) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return n, errStdoutClosed
	}
	if err != nil {
		return n, fmt.Errorf("write standard output: %w", err)
	}
	return n, nil
}
