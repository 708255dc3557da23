package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/proc"
)

// broker is the target of a load.
type broker struct {
	kafka string // host:port
	http  string // of /metrics; empty: it is not varve
	pid   int
}

// counters reads all counters of the broker now.
func (b *broker) counters(ctx context.Context) (counters, error) {
	var c counters
	err := c.process(b.pid)
	if err == nil && b.http != "" {
		err = c.metrics(ctx, b.http)
	}
	return c, err
}

// settle waits until all accepted records are in the bucket, so that their cost
// is counted.
func (b *broker) settle(ctx context.Context) (counters, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c, err := b.counters(ctx)
		if err != nil || c.pending == 0 {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("%.0f bytes are not in the bucket: %w", c.pending, ctx.Err())
		case <-time.After(settlePoll):
		}
	}
}

// node is a varve process of our own.
type node struct {
	broker
	process *proc.Process
	args    []string
	dir     string
}

const (
	readyTimeout = time.Minute
	// settlePoll is so long that the cost of reading the metrics, which the
	// node bears, does not count.
	settlePoll = 200 * time.Millisecond
)

// startNode starts varve with a data folder below dir and returns when it is
// ready.
func startNode(ctx context.Context, binary, dir string, args []string) (*node, error) {
	n := &node{dir: dir, args: args}
	var err error
	if n.kafka, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	if n.http, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	return n, n.start(ctx, binary)
}

// start starts the process, which does not run, and returns when it is ready.
func (n *node) start(ctx context.Context, binary string) (err error) {
	n.process, err = proc.Start(proc.Command{Path: binary, Env: varveEnv(),
		Args: append([]string{"serve", "--data-dir", filepath.Join(n.dir, "data"), "--listen", n.kafka, "--http", n.http,
			"--log-level", "warn", "--pprof", "--auto-create-topics=false"}, n.args...)})
	if err != nil {
		return err
	}
	n.pid = n.process.Pid()
	if err := n.awaitReady(ctx); err != nil {
		return errors.Join(fmt.Errorf("start varve: %w\n%s", err, n.process.Output()), n.process.Kill())
	}
	return nil
}

func (n *node) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.http+"/readyz", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v", readyTimeout)
		case <-n.process.Done():
			return fmt.Errorf("ended: %w", n.process.Wait())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// forget ends the node in good order and starts another one on the same bucket
// with empty memory.
func (n *node) forget(ctx context.Context, binary string) (*node, error) {
	if err := n.process.Stop(readyTimeout); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(n.dir, "data")); err != nil {
		return nil, err
	}
	return startNode(ctx, binary, n.dir, n.args)
}

// profile writes a CPU profile of the node over some time to a file.
func (b *broker) profile(ctx context.Context, seconds int, path string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", b.http, seconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profile the node: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("profile the node: %w", err)
	}
	return os.WriteFile(path, data, 0o644)
}

// varveEnv is a clean environment with the credentials of the store.
func varveEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc([]string{"VARVE_", "AWS_", "MINIO_"}, func(prefix string) bool { return strings.HasPrefix(v, prefix) })
	})
	return append(env, "AWS_ACCESS_KEY_ID="+miniod.AccessKey, "AWS_SECRET_ACCESS_KEY="+miniod.SecretKey)
}
