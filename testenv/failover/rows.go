package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/nodes"
)

// row is one line of the table.
type row struct {
	name, bar     string
	ingest, fetch int
	proxies       bool // the fault needs them
	seldom        bool // it takes long, so it is measured less often
	fault         func(ctx context.Context, t *trial) error
}

func (r row) slug() string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(r.name))
}

// cutFor is how long a node is cut off.
const cutFor = 20 * time.Second

var rows = []row{
	{name: "kill -9 of a node with half of the journals", bar: "median < 3 s", ingest: 2, fault: killed(others(1))},
	{name: "kill -9 of the controller", bar: "median < 4 s", ingest: 2, fault: killed(controller)},
	{name: "kill -9 of the controller and the next candidate", bar: "median < 8 s", ingest: 3, fault: killed(controller, others(1))},
	{name: "one of two vanishes, the other one is the controller", bar: "15 s", ingest: 2, seldom: true, fault: stopped(0, others(1))},
	{name: "one of two vanishes, the controller", bar: "15 s", ingest: 2, seldom: true, fault: stopped(0, controller)},
	{name: "two of three vanish, the controller is one", bar: "15 s", ingest: 3, seldom: true, fault: stopped(0, controller, others(1))},
	{name: "SIGSTOP of 5 s", bar: "named", ingest: 2, seldom: true, fault: stopped(5*time.Second, others(1))},
	{name: "SIGSTOP of 5 s, the controller", bar: "named", ingest: 2, seldom: true, fault: stopped(5*time.Second, controller)},
	{name: "SIGSTOP of 35 s", bar: "named", ingest: 2, seldom: true, fault: stopped(35*time.Second, others(1))},
	{name: "cut off from the other nodes", bar: "named", ingest: 2, proxies: true, seldom: true, fault: cutFromPeers},
	{name: "cut off from NATS", bar: "nothing moves", ingest: 2, proxies: true, seldom: true, fault: cutFromNATS},
	{name: "cut off from the bucket", bar: "10 s", ingest: 2, proxies: true, seldom: true, fault: cutFromBucket},
	{name: "bucket away for 2 minutes", bar: "nothing moves", ingest: 2, proxies: true, seldom: true, fault: bucketAway},
	{name: "rolling restart of 3 and 2 nodes", bar: "< 3 s, no errors", ingest: 3, fetch: 2, seldom: true, fault: rollingRestart},
	{name: "drain and undrain of each node", bar: "< 3 s, no errors", ingest: 3, seldom: true, fault: drainEach},
	{name: "all nodes and disks lost, three fresh ones", bar: "5 s", ingest: 3, seldom: true, fault: allFresh},
}

// choice chooses a node.
type choice func(ctx context.Context, t *trial) (*nodes.Node, error)

func controller(ctx context.Context, t *trial) (*nodes.Node, error) {
	for _, n := range t.set.Writing() {
		if _, ok := leads(ctx, n); ok {
			return n, nil
		}
	}
	return nil, errors.New("there is no controller")
}

// others chooses the n-th of the nodes that write, without the controller.
func others(n int) choice {
	return func(ctx context.Context, t *trial) (*nodes.Node, error) {
		first, err := controller(ctx, t)
		if err != nil {
			return nil, err
		}
		rest := slices.DeleteFunc(t.set.Writing(), func(n *nodes.Node) bool { return n == first })
		return rest[n-1], nil
	}
}

// choose returns the nodes that are chosen, before anything happens to them.
func (t *trial) choose(ctx context.Context, choices []choice) (victims []*nodes.Node, err error) {
	for _, c := range choices {
		n, err := c(ctx, t)
		if err != nil {
			return nil, err
		}
		victims = append(victims, n)
	}
	return victims, nil
}

func killed(choices ...choice) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		victims, err := t.choose(ctx, choices)
		t.gone, t.fell = victims, time.Now()
		for _, n := range victims {
			err = errors.Join(err, n.Kill())
		}
		return err
	}
}

// stopped stops nodes for a while. With no time they stand still for good, as a machine that
// has vanished.
func stopped(span time.Duration, choices ...choice) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		victims, err := t.choose(ctx, choices)
		for _, n := range victims {
			err = errors.Join(err, n.Pause())
		}
		if span == 0 {
			t.gone, t.fell = victims, time.Now()
			return err
		}
		sleep(ctx, span)
		for _, n := range victims {
			err = errors.Join(err, n.Continue())
		}
		return err
	}
}

func cutFromPeers(ctx context.Context, t *trial) error {
	n, err := others(1)(ctx, t)
	if err != nil {
		return err
	}
	t.set.Cut([]*nodes.Node{n}, slices.DeleteFunc(slices.Clone(t.set.Nodes), func(m *nodes.Node) bool { return m == n }))
	sleep(ctx, cutFor)
	t.set.Heal()
	return nil
}

func cutFromNATS(ctx context.Context, t *trial) error {
	n, err := others(1)(ctx, t)
	if err != nil {
		return err
	}
	n.Bus.Cut()
	sleep(ctx, cutFor)
	n.Bus.Heal()
	return nil
}

func cutFromBucket(ctx context.Context, t *trial) error {
	n, err := others(1)(ctx, t)
	if err != nil {
		return err
	}
	n.Store.Set(faultproxy.Fault{Kind: faultproxy.BlackHole, Rate: 1, Delay: time.Minute})
	sleep(ctx, cutFor)
	n.Store.Set()
	return nil
}

func bucketAway(ctx context.Context, t *trial) error {
	for _, n := range t.set.Nodes {
		n.Store.Set(faultproxy.Fault{Kind: faultproxy.Reset, Rate: 1})
	}
	sleep(ctx, 2*time.Minute)
	for _, n := range t.set.Nodes {
		n.Store.Set()
	}
	return nil
}

func rollingRestart(ctx context.Context, t *trial) error {
	for _, n := range t.set.Nodes {
		if err := n.Stop(readyLimit); err != nil {
			return fmt.Errorf("%s ends: %w", n.Name, err)
		}
		if err := n.Start(); err != nil {
			return err
		}
		starting, cancel := context.WithTimeout(ctx, readyLimit)
		err := n.AwaitReady(starting)
		cancel()
		if err != nil {
			return err
		}
		sleep(ctx, steady)
	}
	return nil
}

func drainEach(ctx context.Context, t *trial) error {
	for _, n := range t.set.Writing() {
		status, err := n.Status(ctx)
		if err != nil || status.ID == nil {
			return fmt.Errorf("status of %s: %v, %w", n.Name, status, err)
		}
		for _, command := range []string{"drain", "undrain"} {
			if err := t.set.Operate(ctx, "node", command, fmt.Sprint(*status.ID)); err != nil {
				return err
			}
		}
		sleep(ctx, steady)
	}
	return nil
}

func allFresh(ctx context.Context, t *trial) error {
	var err error
	for _, n := range t.set.Nodes {
		err = errors.Join(err, n.Kill())
	}
	for _, n := range t.set.Nodes {
		err = errors.Join(err, n.LoseDisk(), n.Start())
	}
	return err
}
