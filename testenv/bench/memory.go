package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// The budgets of the node whose memory is measured: the defaults.
const (
	memoryCache   = 512 << 20
	memoryRequest = 256 << 20
	memoryTail    = 64 << 20
	memoryBudgets = memoryCache + memoryRequest + memoryTail
)

const (
	memoryTopic      = "memory"
	memoryPartitions = 12
	// memoryFill is how many bytes a load writes at full speed. After that it writes
	// memoryMore, in bursts: ten minutes at full speed do not fit on a disk.
	memoryFill  = 3 << 30
	memoryMore  = 3 << 30
	memoryBurst = 192 << 20
	// memoryReaders read slowRate bytes a second each, in answers that are as large as
	// they may be.
	memoryReaders = 10
	slowRate      = 2 << 20
	memoryIDs     = 1_000_000
	// The most time to look at an idle node, after a load.
	memoryIdle = 150 * time.Second
)

// memoryLoad is a load for the memory of a node.
type memoryLoad struct {
	name string
	// prepare comes before the node starts with empty memory; it may be nil.
	prepare, run func(ctx context.Context, o *options, n *node) error
}

var memoryLoads = []memoryLoad{
	{"produce", nil, func(ctx context.Context, o *options, n *node) error {
		if err := o.write(ctx, n, memoryFill); err != nil {
			return err
		}
		return o.writeOn(ctx, n)
	}},
	{"ten slow readers", func(ctx context.Context, o *options, n *node) error {
		return o.write(ctx, n, memoryFill)
	}, func(ctx context.Context, o *options, n *node) error {
		group, ctx := errgroup.WithContext(ctx)
		for range memoryReaders {
			group.Go(func() error { return readSlowly(ctx, n.kafka) })
		}
		return group.Wait()
	}},
	{"1,000,000 producers", nil, func(ctx context.Context, o *options, n *node) error {
		j, err := prepareIDs(ctx, bench{Producers: memoryIDs, Partitions: memoryPartitions}, n.kafka, memoryTopic)
		if err != nil {
			return err
		}
		defer j.close()
		if _, err := j.run(ctx); err != nil {
			return err
		}
		return o.writeOn(ctx, n)
	}},
}

// measureMemory puts each load on a node of its own for the duration, and prints the node's most
// memory and its ratio to the budgets.
func (o *options) measureMemory(ctx context.Context, out, log io.Writer) (err error) {
	if err := o.folders(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "budgets %d MiB (cache, requests, tail); each load lasts %v on a fresh node\n\n", memoryBudgets>>20, o.duration)
	fmt.Fprintln(table, "load\tpeak MiB\tratio\tidle MiB\t")
	var errs []error
	for _, l := range memoryLoads {
		if !o.only.MatchString(l.name) {
			continue
		}
		fmt.Fprintln(log, l.name)
		peak, idle, err := o.memoryOf(ctx, l)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
		}
		if peak > 0 {
			fmt.Fprintf(table, "%s\t%d\t%.2f\t%d\t\n", l.name, peak>>20, float64(peak)/memoryBudgets, idle>>20)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, table.Flush())...)
}

// memoryOf returns the most memory of a node under a load, and its memory after that.
func (o *options) memoryOf(ctx context.Context, l memoryLoad) (peak, idle int64, err error) {
	p, err := new(stores).newPlace(o.dir, fileStore)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.remove(context.WithoutCancel(ctx))) }()
	n, err := startNode(ctx, o.varve, p.dir, append([]string{
		"--bucket", p.url, "--create-bucket", fmt.Sprint("--cache-bytes=", memoryCache),
		fmt.Sprint("--request-memory=", memoryRequest), fmt.Sprint("--tail-bytes=", memoryTail),
	}, o.serve...))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = n.process.Kill() }() // its data is deleted as well
	if _, err := n.createTopic(ctx, memoryTopic, memoryPartitions); err != nil {
		return 0, 0, err
	}
	if l.prepare != nil {
		if err := l.prepare(ctx, o, n); err != nil {
			return 0, 0, err
		}
		if n, err = n.forget(ctx, o.varve); err != nil {
			return 0, 0, err
		}
		if err := dropPages(filepath.Join(p.dir, "bucket")); err != nil {
			return 0, 0, err
		}
	}
	span, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	if err = l.run(span, o, n); span.Err() != nil && ctx.Err() == nil {
		err = nil // the load lasts until its time is over
	}
	idle = n.idleBytes(ctx, min(memoryIdle, o.duration/4))
	used, failed := n.counters(context.WithoutCancel(ctx))
	return used.peak, idle, errors.Join(err, failed)
}

// idleBytes returns the memory of a node that has had nothing to do for a time.
func (n *node) idleBytes(ctx context.Context, after time.Duration) int64 {
	select {
	case <-ctx.Done():
		return 0
	case <-time.After(after):
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.pid))
	bytes, _ := statusBytes(string(status), "VmRSS:") // 0 if it has ended
	return bytes
}

// write writes bytes of records as fast as the node takes them.
func (o *options) write(ctx context.Context, n *node, bytes int64) error {
	const size = 1024
	_, err := load(ctx, o.varve, n.kafka, "produce", memoryTopic, "--duration", "0", "--records", fmt.Sprint(bytes/size), "--record-size", fmt.Sprint(size), "--acks", "1")
	return err
}

// writeOn writes bursts until ctx ends.
func (o *options) writeOn(ctx context.Context, n *node) error {
	pause := time.NewTicker(max(o.duration/(memoryMore/memoryBurst), time.Second))
	defer pause.Stop()
	for {
		if err := o.write(ctx, n, memoryBurst); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
	}
}

// readSlowly reads all partitions, each from its start, until ctx ends.
func readSlowly(ctx context.Context, kafka string) error {
	offsets := map[int32]kgo.Offset{}
	for p := range int32(memoryPartitions) {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	const answer = 50 << 20
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{memoryTopic: offsets}),
		kgo.FetchMaxBytes(answer), kgo.FetchMaxPartitionBytes(answer), kgo.RequestTimeoutOverhead(5*time.Minute),
		kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, host)
			return slowConn{c}, err
		}))
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx) // errors are those of a client that is cut off: it goes on
	}
	return nil
}

// slowConn reads slowRate bytes a second.
type slowConn struct{ net.Conn }

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 32<<10)])
	jitter := 0.5 + rand.Float64() // readers do not read in step
	time.Sleep(time.Duration(jitter * float64(n) / slowRate * float64(time.Second)))
	return n, err
}
