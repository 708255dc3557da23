package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/nodes"
	"github.com/varvelog/varve/testenv/proc"
)

const bucketPath = "/" + bucketName + "/events?secure=false"

// checkpointObjects is the interval of nodes' checkpoints: so short that floors
// move in the shortest round.
const checkpointObjects = 8

// smallMemory makes the follower read most of the log from the bucket, again and again.
var smallMemory = []string{"--cache-bytes", "16MiB", "--tail-bytes", "1MiB"}

// cluster is the system under torture: a store, proxies before it, a node that
// leads and one that only reads; or several of both.
type cluster struct {
	binary  string
	store   store
	proxies []*faultproxy.Proxy // before the store
	nodes   []*node
	clients string // addresses that clients write to, joined by commas
	reads   string // address of a node that only reads
	logs    []*os.File
	stop    context.CancelFunc // ends the nodes
	running sync.WaitGroup     // the nodes
	tidying *tidying           // of the leader

	leader, follower *node    // of two nodes
	several          *several // nil: there are two nodes
}

// startCluster starts everything and returns when both nodes are ready.
func startCluster(ctx context.Context, o options, seed uint64, dir string, h *history.History, d *disturbances) (*cluster, error) {
	c := &cluster{binary: o.varve}
	begin := c.start
	if o.several {
		begin = c.startSeveral
	}
	err := begin(ctx, o, seed, dir, h, d)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *cluster) startStore(ctx context.Context, o options, dir string) error {
	log, err := c.log(dir, o.store)
	if err == nil {
		c.store, err = startStore(ctx, o.store, filepath.Join(dir, o.store), log)
	}
	return err
}

// start starts the two nodes.
func (c *cluster) start(ctx context.Context, o options, seed uint64, dir string, h *history.History, d *disturbances) error {
	if err := c.startStore(ctx, o, dir); err != nil {
		return err
	}
	proxy, err := faultproxy.Start(c.store.Address(), seed)
	if err != nil {
		return err
	}
	c.proxies = append(c.proxies, proxy)
	nats, err := proc.FreeAddr()
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	c.stop = stop
	if c.leader, err = c.node(o, dir, "leader", h, d, slices.Concat([]string{"--nats", "embedded://" + nats, "--create-bucket"}, tidyingArgs, graces(seed))...); err != nil {
		return err
	}
	c.tidying = newTidying(filepath.Join(dir, "leader.log"))
	c.running.Go(func() { c.tidying.watch(running, c.leader.http) })
	c.running.Go(func() { c.leader.run(running) })
	if err := awaitReady(ctx, c.leader); err != nil {
		return err
	}
	if c.follower, err = c.node(o, dir, "follower", h, d, slices.Concat([]string{"--nats", "nats://" + nats, "--roles", "fetch", "--archive"}, smallMemory)...); err != nil {
		return err
	}
	c.running.Go(func() { c.tidying.watch(running, c.follower.http) })
	c.running.Go(func() { c.follower.run(running) })
	c.nodes, c.clients, c.reads = []*node{c.leader, c.follower}, c.leader.kafka, c.follower.kafka
	return awaitReady(ctx, c.follower)
}

func awaitReady(ctx context.Context, n *node) error {
	for !n.isReady() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", n.name, ctx.Err())
		case <-n.done:
			return fmt.Errorf("%s does not start", n.name)
		case <-time.After(pollReady):
		}
	}
	return nil
}

func (c *cluster) log(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		c.logs = append(c.logs, f)
	}
	return f, err
}

// node prepares a node that is not running yet.
func (c *cluster) node(o options, dir, name string, h *history.History, d *disturbances, args ...string) (*node, error) {
	n := &node{name: name, dataDir: filepath.Join(dir, name), history: h, disturbing: d, done: make(chan struct{})}
	var err error
	if n.kafka, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	if n.http, err = proc.FreeAddr(); err != nil {
		return nil, err
	}
	log, err := c.log(dir, name)
	if err != nil {
		return nil, err
	}
	command := proc.Command{
		Path: c.binary,
		Args: slices.Concat([]string{"serve", "--bucket", "minio://" + c.proxies[0].Address() + bucketPath, "--listen", n.kafka, "--http", n.http,
			"--data-dir", n.dataDir}, serveArgs(o), args),
		Env: varveEnv(), Stdout: log, Stderr: log,
	}
	n.launch = func() (*proc.Process, error) { return proc.Start(command) }
	return n, nil
}

// serveArgs are flags of all nodes.
func serveArgs(o options) []string {
	return []string{"--flush-interval", o.flush.String(), "--auto-create-topics=false", "--group-min-session-timeout", "1s",
		"--group-initial-rebalance-delay", min(3*time.Second, o.duration/40).String(),
		"--checkpoint-objects", strconv.Itoa(checkpointObjects)}
}

// varveEnv returns a clean environment with the credentials of the store.
func varveEnv() []string {
	return nodes.Environment("AWS_ACCESS_KEY_ID="+miniod.AccessKey, "AWS_SECRET_ACCESS_KEY="+miniod.SecretKey)
}

// healStore ends all faults between nodes and the store.
func (c *cluster) healStore() {
	for _, p := range c.proxies {
		p.Set()
	}
}

// late is the number of requests to the store that have yet to arrive.
func (c *cluster) late() (n int) {
	for _, p := range c.proxies {
		n += p.Late()
	}
	return n
}

// pauseStore stops the store for a while.
func (c *cluster) pauseStore(ctx context.Context, span time.Duration) error {
	if err := syscall.Kill(c.store.Pid(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause the store: %w", err)
	}
	sleep(ctx, span)
	if err := syscall.Kill(c.store.Pid(), syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue the store: %w", err)
	}
	return nil
}

// killStore kills the store and starts it again after a while.
func (c *cluster) killStore(ctx context.Context, span time.Duration) error {
	if err := c.store.Kill(); err != nil {
		return err
	}
	sleep(ctx, span)
	return c.store.Restart(context.Background()) // has a limit of its own
}

// close ends everything that runs. The nodes are killed, and restarted no more.
func (c *cluster) close() error {
	var errs []error
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
	if c.several != nil {
		errs = append(errs, c.several.close())
	} else {
		for _, p := range c.proxies {
			errs = append(errs, p.Close())
		}
	}
	if c.store != nil {
		errs = append(errs, c.store.Kill())
	}
	for _, f := range c.logs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// retire ends the leader, or each of several nodes, with SIGTERM and does not start it again.
// All faults are over, so everything must have been flushed.
func (c *cluster) retire() error {
	if c.several == nil {
		return c.leader.retire()
	}
	var errs []error
	for _, n := range slices.Backward(c.nodes) {
		errs = append(errs, n.retire())
	}
	return errors.Join(errs...)
}

// verify runs `varve bucket verify` if the binary has that command. It returns
// the output, "" if there is no such command, and an error if the bucket is not
// sound.
func (c *cluster) verify(ctx context.Context) (string, error) {
	help, err := c.varve(ctx, "bucket", "verify", "--help")
	if err != nil || !strings.Contains(help, "varve bucket verify") {
		return "", nil
	}
	return c.varve(ctx, "bucket", "verify", "--records", "--bucket", "minio://"+c.store.Address()+bucketPath)
}

// varve runs the binary to its end.
func (c *cluster) varve(ctx context.Context, args ...string) (string, error) {
	process, err := proc.Start(proc.Command{Path: c.binary, Args: args, Env: varveEnv()})
	if err != nil {
		return "", err
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), process.Kill())
	}
	return process.Output(), process.Wait()
}
