package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/natsd"
	"github.com/varvelog/varve/testenv/nodes"
	"github.com/varvelog/varve/testenv/senders"
)

// trial is one time of a row: a cluster, its load, and a fault.
type trial struct {
	options
	row      row
	dir      string
	store    *miniod.Server
	families []senders.Family

	set       *nodes.Set
	nats      *natsd.Server
	bucket    nodes.Bucket
	logs      []*os.File
	loads     []*load
	gone      []*nodes.Node // those that are dead, or stand still for good
	fell      time.Time     // when they did
	led       time.Duration // from then until the others led all journals; 0: none is gone
	takeOvers int
}

func (t *trial) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.start(ctx); err != nil {
		return err
	}
	before, err := t.leaderships(ctx)
	if err != nil {
		return err
	}
	if err := t.load(ctx); err != nil {
		return err
	}
	for _, l := range t.loads {
		l.mark()
	}
	if err := t.row.fault(ctx, t); err != nil {
		return err
	}
	since := time.Now()
	if t.gone != nil {
		if err := t.awaitLed(ctx); err != nil {
			return err
		}
	}
	if err := t.awaitAcked(ctx, since); err != nil {
		return err
	}
	for _, n := range t.gone { // or each client waits for those that vanished once more
		if err := n.Kill(); err != nil {
			return err
		}
	}
	for _, l := range t.loads {
		if err := l.end(); err != nil {
			return fmt.Errorf("%s: %w", l.family, err)
		}
	}
	reading, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	for _, l := range t.loads {
		if err := l.check(reading, t.set.Seeds()); err != nil {
			return fmt.Errorf("%s: %w", l.family, err)
		}
	}
	after, err := t.leaderships(ctx)
	t.takeOvers = after - before
	return err
}

// start starts the cluster, and waits until each node that writes has its share.
func (t *trial) start(ctx context.Context) (err error) {
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return err
	}
	if t.nats, err = natsd.Start(""); err != nil {
		return err
	}
	name := "failover-" + strings.ToLower(rand.Text())
	if t.bucket, err = nodes.OpenBucket(t.store.Address(), miniod.AccessKey, miniod.SecretKey, name, ""); err != nil {
		return err
	}
	t.set, err = nodes.New(nodes.Config{
		Binary: t.varve, Dir: t.dir, Store: t.store.Address(), Bucket: name + "?secure=false", NATS: t.nats.Address(),
		Env:    nodes.Environment("AWS_ACCESS_KEY_ID="+miniod.AccessKey, "AWS_SECRET_ACCESS_KEY="+miniod.SecretKey),
		Ingest: t.row.ingest, Fetch: t.row.fetch, Proxies: t.row.proxies, Log: t.log,
		Journals: t.journals(), Flags: t.flags,
	})
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for _, group := range [][]*nodes.Node{t.set.Writing(), t.set.Reading()} { // those that read need a cluster
		for _, n := range group {
			if err := n.Start(); err != nil {
				return err
			}
		}
		for _, n := range group {
			if err := n.AwaitReady(starting); err != nil {
				return err
			}
		}
	}
	return t.awaitShares(starting)
}

func (t *trial) journals() int { return 2 * t.row.ingest }

func (t *trial) log(node string) (io.Writer, error) {
	f, err := os.Create(filepath.Join(t.dir, node+".log"))
	if err == nil {
		t.logs = append(t.logs, f)
	}
	return f, err
}

// leads returns how many data journals a node says it leads, and whether it is the controller.
func leads(ctx context.Context, n *nodes.Node) (journals int, controller bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, err := n.Status(ctx)
	if err != nil {
		return 0, false
	}
	for _, journal := range status.Leads() {
		if journal == 0 {
			controller = true
		} else {
			journals++
		}
	}
	return journals, controller
}

// awaitShares waits until each node that writes leads as many journals as the others.
func (t *trial) awaitShares(ctx context.Context) error {
	for ; ctx.Err() == nil; sleep(ctx, 50*time.Millisecond) {
		shared, controllers := true, 0
		for _, n := range t.set.Writing() {
			journals, controller := leads(ctx, n)
			shared = shared && journals == t.journals()/t.row.ingest
			if controller {
				controllers++
			}
		}
		if shared && controllers == 1 {
			return nil
		}
	}
	return errors.New("journals are not shared in time")
}

// awaitLed waits until the nodes that are left lead all journals. Clients that wait for others to
// answer may not know that for longer.
func (t *trial) awaitLed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	for ; ctx.Err() == nil; sleep(ctx, 20*time.Millisecond) {
		all, controllers := 0, 0
		for _, n := range t.set.Writing() {
			if slices.Contains(t.gone, n) {
				continue
			}
			journals, controller := leads(ctx, n)
			all += journals
			if controller {
				controllers++
			}
		}
		if all == t.journals() && controllers == 1 {
			t.led = time.Since(t.fell)
			return nil
		}
	}
	return errors.New("journals have no leader in time")
}

// load creates the topics, starts the producers, and waits until they are in their stride.
func (t *trial) load(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.set.Seeds()...))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, f := range t.families {
		made, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, "load-of-"+f.Name)
		if err := errors.Join(err, made.Err); err != nil {
			return fmt.Errorf("create a topic: %w", err)
		}
	}
	for _, f := range t.families {
		l, err := startLoad(f, t.set.Seeds(), t.rate)
		if err != nil {
			return fmt.Errorf("start %s: %w", f.Name, err)
		}
		t.loads = append(t.loads, l)
	}
	if err := t.awaitAcked(ctx, time.Now()); err != nil {
		return err
	}
	sleep(ctx, steady)
	return ctx.Err()
}

// awaitAcked waits until records are acknowledged in each partition that were sent after a
// moment.
func (t *trial) awaitAcked(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	for _, l := range t.loads {
		for !l.ackedSince(since) {
			if sleep(ctx, 10*time.Millisecond); ctx.Err() != nil {
				return fmt.Errorf("%s: not all partitions are acknowledged within %v", l.family, recoverLimit)
			}
		}
	}
	return nil
}

// leaderships counts those of all journals.
func (t *trial) leaderships(ctx context.Context) (n int, err error) {
	for journal := range uint32(t.journals() + 1) {
		all, err := t.bucket.Leaderships(ctx, journal)
		if err != nil {
			return 0, err
		}
		n += len(all)
	}
	return n, nil
}

func (t *trial) summary() string {
	var parts []string
	for _, l := range t.loads {
		text := fmt.Sprintf("%s %.2f s", l.family, l.longest.Seconds())
		if l.failed > 0 {
			text += fmt.Sprintf(", %d errors", l.failed)
		}
		if l.lost+l.doubled > 0 {
			text += fmt.Sprintf(", %d LOST, %d DOUBLED", l.lost, l.doubled)
		}
		parts = append(parts, text)
	}
	if t.led > 0 {
		parts = append(parts, fmt.Sprintf("all led after %.2f s", t.led.Seconds()))
	}
	return strings.Join(parts, "; ") + fmt.Sprintf("; %d take-overs", t.takeOvers)
}

func (t *trial) close() error {
	var errs []error
	for _, l := range t.loads {
		l.stop()
		l.sender.Kill()
		<-l.done
	}
	if t.set != nil {
		errs = append(errs, t.set.Close())
	}
	if t.nats != nil {
		t.nats.Stop()
	}
	for _, f := range t.logs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
