// Command runcluster runs a cluster on this machine until Ctrl-C: MinIO, NATS, nodes
// that write and nodes that only read.
//
//	runcluster [--varve bin/varve] [--dir varve-data/cluster] [--ingest 3] [--fetch 2]
//
// It shows a table of the nodes, which it writes again each second, or when it changes
// if its output is no terminal. It says where clients connect. A node that dies is
// started again some seconds later, so kill -9 of a node in the table shows how others
// take over. One whose exit code asks not to be started again stays as it is.
//
// All data is in one folder, and is there again at the next run: buckets, the data
// folder of each node, and a file with its log. With Ctrl-C the nodes end first, in
// good order; a second one kills them. All listen on loopback.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/natsd"
	"github.com/varvelog/varve/testenv/nodes"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(signals, os.Args[1:], os.Stdout)
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "runcluster:", err)
		os.Exit(1)
	}
}

// journalsEach is how many journals a new cluster has for each node that writes.
const journalsEach = 2

// options are the flags.
type options struct {
	varve, dir           string
	ingest, fetch        int
	kafka, http          int
	store, nats          string
	flags                []string
	refresh, startAgain  time.Duration
	terminal             bool
	stopGrace, startFrom time.Duration
}

func parse(args []string) (options, error) {
	o := options{refresh: time.Second, stopGrace: 60 * time.Second, startFrom: 2 * time.Minute}
	flags := pflag.NewFlagSet("runcluster", pflag.ContinueOnError)
	flags.StringVar(&o.varve, "varve", "bin/varve", "path of the varve binary")
	flags.StringVar(&o.dir, "dir", "varve-data/cluster", "folder for buckets, data folders and logs")
	flags.IntVar(&o.ingest, "ingest", 3, "nodes that write")
	flags.IntVar(&o.fetch, "fetch", 2, "nodes that only read")
	flags.IntVar(&o.kafka, "kafka-port", 9092, "port for clients of the first node; the others have the next ones; 0: free ones")
	flags.IntVar(&o.http, "http-port", 9080, "port of HTTP of the first node; the others have the next ones; 0: free ones")
	flags.StringVar(&o.store, "minio", "127.0.0.1:9000", "address of MinIO; empty: a free one")
	flags.StringVar(&o.nats, "nats", "127.0.0.1:4222", "address of NATS; empty: a free one")
	flags.DurationVar(&o.startAgain, "start-again", 5*time.Second, "how long a node that died stays away")
	flags.StringArrayVar(&o.flags, "flag", nil, "one more flag of all nodes, as --flag=--flush-interval=20ms")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.ingest < 1 || o.fetch < 0 || flags.NArg() > 0 {
		return o, errors.New("there must be one node that writes, and nothing may follow the flags")
	}
	return o, nil
}

// run runs the cluster until the first signal.
func run(signals <-chan os.Signal, args []string, out *os.File) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.varve, err = filepath.Abs(o.varve); err != nil {
		return err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	o.terminal = isTerminal(out)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &cluster{options: o, out: out}
	defer func() { err = errors.Join(err, c.close()) }()
	work := make(chan error, 1)
	go func() { work <- c.run(ctx) }()
	select {
	case err = <-work:
		return err
	case <-signals:
	}
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(<-work, c.stop()) }()
	select {
	case err = <-ended:
		return err
	case <-signals:
		return errors.New("nodes were killed; the next run flushes the records that they acknowledged")
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// cluster is all that runs.
type cluster struct {
	options
	out   io.Writer
	minio *miniod.Server
	bus   *natsd.Server
	set   *nodes.Set
	logs  []*os.File
	shown string    // the table that was written last
	began time.Time // of the nodes
}

// run starts everything, and looks after the nodes until ctx ends.
func (c *cluster) run(ctx context.Context) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	binary, err := miniod.Build(ctx, c.out)
	if err != nil {
		return err
	}
	if c.minio, err = miniod.Start(ctx, miniod.Config{Binary: binary, Dir: filepath.Join(c.dir, "minio"), Address: c.store}); err != nil {
		return err
	}
	if c.bus, err = natsd.Start(c.nats); err != nil {
		return err
	}
	config := nodes.Config{
		Binary: c.varve, Dir: c.dir, Store: c.minio.Address(), Bucket: "varve?secure=false", NATS: c.bus.Address(),
		Env:    nodes.Environment("AWS_ACCESS_KEY_ID="+miniod.AccessKey, "AWS_SECRET_ACCESS_KEY="+miniod.SecretKey),
		Ingest: c.ingest, Fetch: c.fetch, Flags: c.flags, Kafka: c.kafka, HTTP: c.http, Log: c.log,
	}
	if c.ingest > 1 {
		config.Journals = journalsEach * c.ingest
	}
	if c.set, err = nodes.New(config); err != nil {
		return err
	}
	c.began = time.Now()
	starting, cancel := context.WithTimeout(ctx, c.startFrom)
	defer cancel()
	if err := c.start(starting); err != nil {
		return err
	}
	return c.look(ctx)
}

// start starts those that write and, once one of them is ready, those that only read: they
// need a cluster in the bucket.
func (c *cluster) start(ctx context.Context) error {
	for _, n := range c.set.Writing() {
		if err := n.Start(); err != nil {
			return err
		}
	}
	if err := c.set.AwaitAny(ctx, c.set.Writing()); err != nil {
		return fmt.Errorf("%w; logs are in %s", err, c.dir)
	}
	for _, n := range c.set.Reading() {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) log(node string) (io.Writer, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, node+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		c.logs = append(c.logs, f)
	}
	return f, err
}

// stop ends the nodes in good order, those that only read first.
func (c *cluster) stop() error {
	if c.set == nil {
		return nil
	}
	fmt.Fprintln(c.out, "ending the nodes; Ctrl-C again kills them")
	var errs []error
	for _, group := range [][]*nodes.Node{c.set.Reading(), c.set.Writing()} {
		for _, n := range group {
			errs = append(errs, n.Stop(c.stopGrace))
		}
	}
	return errors.Join(errs...)
}

// close ends all that still runs.
func (c *cluster) close() error {
	var errs []error
	if c.set != nil {
		errs = append(errs, c.set.Close())
	}
	if c.bus != nil {
		c.bus.Stop()
	}
	if c.minio != nil {
		errs = append(errs, c.minio.Stop())
	}
	for _, f := range c.logs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
