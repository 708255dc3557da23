package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/testenv/history"
	"github.com/varvelog/varve/testenv/natsd"
	"github.com/varvelog/varve/testenv/nodes"
	"github.com/varvelog/varve/testenv/proc"
)

const (
	severalIngest   = 3
	severalFetch    = 2
	severalJournals = 6
	severalMembers  = 6                // of the group, unless a flag has another number
	operatorLimit   = 2 * time.Minute  // for a command of the operator, repeated until it succeeds
	operatorTurn    = time.Second      // between two tries
	operatorAnswer  = 30 * time.Second // for one try
	wasRemoved      = "the node was removed"
)

// several is the part of a cluster that only one of several nodes has.
type several struct {
	set  *nodes.Set
	nats *natsd.Server
}

func (s *several) close() error {
	var err error
	if s.set != nil {
		err = s.set.Close()
	}
	if s.nats != nil {
		s.nats.Stop()
	}
	return err
}

// startSeveral starts three nodes that write and two that only read, next to one store and
// NATS, each behind proxies of its own.
func (c *cluster) startSeveral(ctx context.Context, o options, seed uint64, dir string, h *history.History, d *disturbances) error {
	if err := c.startStore(ctx, o, dir); err != nil {
		return err
	}
	c.several, c.tidying = &several{}, newTidying("")
	var err error
	if c.several.nats, err = natsd.Start(""); err != nil {
		return err
	}
	c.several.set, err = nodes.New(nodes.Config{
		Binary: c.binary, Dir: dir, Store: c.store.Address(), Bucket: strings.TrimPrefix(bucketPath, "/"), Env: varveEnv(),
		NATS: c.several.nats.Address(), Ingest: severalIngest, Fetch: severalFetch, Proxies: true, Seed: seed,
		Journals: severalJournals, Flags: slices.Concat(serveArgs(o), tidyingArgs, graces(seed)),
		Log: func(node string) (io.Writer, error) { return c.log(dir, node) },
	})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	c.stop = stop
	for _, member := range c.several.set.Nodes {
		c.proxies = append(c.proxies, member.Store)
		n := c.supervised(member, h, d)
		c.nodes = append(c.nodes, n)
		if !member.Ingest {
			member.Flags = smallMemory
			if err := awaitReady(ctx, c.nodes[0]); err != nil { // there must be a cluster to read
				return err
			}
		}
		c.running.Go(func() { n.run(running) })
	}
	c.clients, c.reads = strings.Join(c.several.set.Seeds(), ","), c.several.set.Reading()[0].Kafka
	for _, n := range c.nodes {
		if err := awaitReady(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// supervised has a node of several started again whenever it ends.
func (c *cluster) supervised(member *nodes.Node, h *history.History, d *disturbances) *node {
	return &node{name: member.Name, kafka: member.Kafka, http: member.HTTP, dataDir: member.DataDir, history: h, disturbing: d, done: make(chan struct{}),
		launch: func() (*proc.Process, error) {
			if err := member.Start(); err != nil {
				return nil, err
			}
			return member.Process(), nil
		}}
}

// writing returns the nodes that write.
func (c *cluster) writing() []*node { return c.nodes[:severalIngest] }

// member returns the node below one that is supervised.
func (c *cluster) member(n *node) *nodes.Node {
	return c.several.set.Nodes[slices.Index(c.nodes, n)]
}

// controller returns the node that says it leads journal 0, nil if none does.
func (c *cluster) controller(ctx context.Context) *node {
	for _, n := range c.writing() {
		if status, err := c.member(n).Status(ctx); err == nil && slices.Contains(status.Leads(), 0) {
			return n
		}
	}
	return nil
}

// brokerID returns the broker id of a node, "" if it does not say it.
func (c *cluster) brokerID(ctx context.Context, n *node) string {
	status, err := c.member(n).Status(ctx)
	if err != nil || status.ID == nil {
		return ""
	}
	return fmt.Sprint(*status.ID)
}

// answering returns the node that writes which a step chooses, or the next one that says its
// broker id; nil if none does.
func (c *cluster) answering(ctx context.Context, s step) (n *node, id string) {
	for i := range severalIngest {
		n := c.writing()[(int(s.pick)+i)%severalIngest]
		if id := c.brokerID(ctx, n); id != "" {
			return n, id
		}
	}
	return nil, ""
}

// operate runs a command of varve against the cluster until it succeeds.
func (c *cluster) operate(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), operatorLimit) // faults may end before
	defer cancel()
	for {
		turn, done := context.WithTimeout(ctx, operatorAnswer)
		output, err := c.varve(turn, append(args, "--bootstrap", c.clients)...)
		done()
		if err == nil || strings.Contains(output, wasRemoved) { // by an earlier try, which was ended
			return nil
		}
		if sleep(ctx, operatorTurn); ctx.Err() != nil {
			return fmt.Errorf("varve %s: %w: %s", strings.Join(args, " "), err, lastLine(output))
		}
	}
}

// takeOvers counts the leaderships of all journals that began after another one, and those of
// them that were taken by force, not handed over.
func (c *cluster) takeOvers(ctx context.Context) (all, forced int, err error) {
	bucket, err := openBucket(c.store.Address())
	if err != nil {
		return 0, 0, err
	}
	for journal := range uint32(severalJournals + 1) {
		found, err := bucket.Leaderships(ctx, journal)
		if err != nil {
			return 0, 0, err
		}
		all += max(0, len(found)-1)
		forced += nodes.Forced(found)
	}
	return all, forced, nil
}

// replace gives a node a new identity: the disk of the old one is lost. The old one is removed
// as an operator does.
func (n *nemesis) replace(ctx context.Context, s step) error {
	victim, id := n.cluster.answering(ctx, s)
	if victim == nil {
		return nil
	}
	if err := victim.kill(victim.loseDisk); err != nil {
		return err
	}
	if err := n.cluster.operate("node", "remove", id, "--yes"); err != nil {
		n.failing("the lost %s is not removed: %v", victim.name, err)
		return nil
	}
	n.count("removed nodes", 1)
	return nil
}

// failing notes that an operator could not do something in time.
func (n *nemesis) failing(format string, args ...any) {
	n.cluster.nodes[0].history.Note(history.Stuck, format, args...)
}
