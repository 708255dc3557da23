package miniod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/testenv/cache"
)

// minioPackage is the main package of the MinIO server.
const minioPackage = "github.com/minio/minio"

// progressInterval is how often a build reports how far it is.
const progressInterval = 10 * time.Second

// Build returns the path of the binary, after building it if it is not there
// yet. That takes some five minutes on two cores, and is reported on progress.
// A build that fails or is ended leaves nothing behind. Of two builds at the
// same time one waits for the other. Build needs the go command.
func Build(ctx context.Context, progress io.Writer) (string, error) {
	path, err := Find()
	if !errors.Is(err, ErrNoBinary) {
		return path, err
	}
	if path, err = binaryPath(); err != nil {
		return "", err
	}
	source, err := pinDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	unlock, err := cache.Lock(path+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := Find(); !errors.Is(err, ErrNoBinary) {
		return path, err // built by another process while we waited
	}
	fmt.Fprintln(progress, "building MinIO once, about five minutes on 2 cores")
	if err := build(ctx, source, path, progress); err != nil {
		return "", fmt.Errorf("build MinIO: %w", err)
	}
	return path, nil
}

// build compiles into a folder next to path and renames, so that path is
// either absent or whole.
func build(ctx context.Context, source, path string, progress io.Writer) error {
	temp, err := os.MkdirTemp(filepath.Dir(path), "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)

	var counts counts
	stop := counts.report(progress)
	defer stop()

	// Listing first downloads the sources, and says how much there is to do.
	packages, err := run(ctx, source, &counts, "list", "-mod=readonly", "-deps", minioPackage)
	if err != nil {
		return err
	}
	counts.total.Store(int64(bytes.Count(packages, []byte("\n"))))

	binary := filepath.Join(temp, "minio")
	if _, err := run(ctx, source, &counts, "build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath",
		"-ldflags=-s -w", "-o", binary, minioPackage); err != nil {
		return err
	}
	return os.Rename(binary, path)
}

// run runs the go command in dir and returns its standard output. Its standard
// error is counted, and part of the error.
func run(ctx context.Context, dir string, counts *counts, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// No workspace of the user may change the pin.
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	// The go command ends its compilers on an interrupt, not when killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	messages := counts.read(stderr)
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, messages)
	}
	return stdout.Bytes(), nil
}

// counts is how far a build is.
type counts struct {
	downloaded, compiled, total atomic.Int64
}

// read counts the lines of the go command, until it prints no more, and returns
// those that are no progress.
func (c *counts) read(stderr io.Reader) string {
	var messages strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "go: downloading "):
			c.downloaded.Add(1)
		case line != "" && !strings.ContainsAny(line, " \t:#"):
			c.compiled.Add(1) // with -v, the import path of each package
		default:
			messages.WriteString(line + "\n")
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintf(&messages, "read messages: %v\n", err)
		io.Copy(io.Discard, stderr) // a full pipe would stop the build
	}
	return messages.String()
}

// report prints progress at an interval, until stop, which waits for the last
// line.
func (c *counts) report(progress io.Writer) (stop func()) {
	begin := time.Now()
	quit, done := make(chan struct{}), make(chan struct{})
	line := func() {
		fmt.Fprintf(progress, "MinIO: %d modules downloaded, %d of at most %d packages compiled, %v\n",
			c.downloaded.Load(), c.compiled.Load(), c.total.Load(), time.Since(begin).Round(time.Second))
	}
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				line()
			case <-quit:
				line()
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
