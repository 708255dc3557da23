// Package nodes runs clusters of varve nodes as processes, for tests and local
// runs.
//
// It owns the processes, their addresses and data folders, and the proxies around
// them. These stand before the listeners of each node, and between it and its object
// store and NATS. So each node can be cut from each of these alone, and two nodes from
// each other. It promises that nothing is left after Close.
//
// It knows varve's flags and its HTTP addresses, and decides nothing: a node that
// ends stays so until the caller starts it again. The object store and NATS belong to
// the caller.
package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/proc"
)

// Config defines a cluster.
type Config struct {
	Binary   string
	Dir      string   // has the data folder of each node
	Store    string   // host:port of the object store, which speaks S3
	Bucket   string   // bucket, prefix and options, as in "bucket/prefix?secure=false"
	Env      []string // of the nodes, with the credentials; see Environment
	NATS     string   // host:port; empty: each node has its own
	Ingest   int      // nodes that write
	Fetch    int      // nodes that only read
	Journals int      // data journals of a new cluster; 0: varve's default
	Flags    []string // of all nodes
	Proxies  bool     // stand between nodes, and before store and NATS
	Seed     uint64   // of the proxies
	Kafka    int      // first port for clients; 0: free ones
	HTTP     int      // first port of HTTP; 0: free ones
	// Log returns a writer for the output of a node; nil: it is kept for Node.Log only.
	Log func(node string) (io.Writer, error)
}

// Set is a cluster of nodes. Its methods may not be called concurrently; those of
// different nodes may.
type Set struct {
	Nodes []*Node // those that write first, then those that were added

	config Config
}

// New prepares the nodes. None runs yet.
func New(c Config) (*Set, error) {
	s := &Set{config: c}
	for i := range c.Ingest + c.Fetch {
		if _, err := s.Add(i < c.Ingest); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// Add prepares one more node. Its name has the number of nodes of its kind.
func (s *Set) Add(ingest bool) (*Node, error) {
	name := fmt.Sprintf("ingest-%d", len(s.Writing())+1)
	if !ingest {
		name = fmt.Sprintf("fetch-%d", len(s.Reading())+1)
	}
	n := &Node{Ingest: ingest, Name: name, DataDir: filepath.Join(s.config.Dir, name)}
	i := len(s.Nodes)
	s.Nodes = append(s.Nodes, n)
	return n, s.config.prepare(s, n, i)
}

// Writing returns the nodes that write, Reading those that only read.
func (s *Set) Writing() []*Node { return s.roles(true) }

// Reading returns the nodes that only read.
func (s *Set) Reading() []*Node { return s.roles(false) }

func (s *Set) roles(ingest bool) []*Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(n *Node) bool { return n.Ingest != ingest })
}

// Seeds returns the addresses for clients of all nodes.
func (s *Set) Seeds() (seeds []string) {
	for _, n := range s.Nodes {
		seeds = append(seeds, n.Kafka)
	}
	return seeds
}

// AwaitAny waits until one of some nodes serves clients. It returns an error once all have ended.
func (s *Set) AwaitAny(ctx context.Context, some []*Node) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan error, len(some))
	for _, n := range some {
		go func() { outcomes <- n.AwaitReady(ctx) }()
	}
	errs := []error{errors.New("no node is ready")}
	for range some {
		err := <-outcomes
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// AwaitAll waits until all nodes of the cluster serve clients.
func (s *Set) AwaitAll(ctx context.Context) error {
	for _, n := range s.Nodes {
		if err := n.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close kills all nodes and ends the proxies.
func (s *Set) Close() error {
	var errs []error
	for _, n := range s.Nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// Cut cuts the connections between nodes of two sides, in both directions. Other cuts
// between nodes end. With an empty side it only ends those.
func (s *Set) Cut(one, other []*Node) {
	for _, n := range s.Nodes {
		n.Peers.Heal()
	}
	if len(one) == 0 || len(other) == 0 {
		return
	}
	for _, sides := range [][2][]*Node{{one, other}, {other, one}} {
		for _, n := range sides[0] {
			n.Peers.Cut(names(sides[1])...)
		}
	}
}

// Heal ends all cuts between nodes.
func (s *Set) Heal() { s.Cut(nil, nil) }

func names(nodes []*Node) (all []string) {
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return all
}

// owner returns the name of the node that has the socket of a connection, "" if none has.
func (s *Set) owner(remote net.Addr) string {
	socket := socketAt(remote)
	if socket == "" {
		return ""
	}
	for _, n := range s.Nodes {
		if pid := n.Pid(); pid != 0 && hasFile(pid, socket) {
			return n.Name
		}
	}
	return ""
}

// Environment is the environment of this process without settings of varve and of
// stores, but with these variables.
func Environment(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc([]string{"VARVE_", "AWS_", "MINIO_"}, func(prefix string) bool { return strings.HasPrefix(v, prefix) })
	})
	return append(env, more...)
}

// prepare gives a node its addresses, proxies and flags.
func (c Config) prepare(s *Set, n *Node, i int) (err error) {
	if n.Kafka, err = address(c.Kafka, i); err != nil {
		return err
	}
	if n.HTTP, err = address(c.HTTP, i); err != nil {
		return err
	}
	store, nats, listen := c.Store, c.NATS, []string{"--listen", n.Kafka}
	if c.Proxies {
		if store, nats, listen, err = n.surround(c, s, uint64(i)); err != nil {
			return err
		}
	}
	args := append([]string{"serve", "--bucket", "minio://" + store + "/" + c.Bucket, "--http", n.HTTP, "--data-dir", n.DataDir}, listen...)
	if nats != "" {
		args = append(args, "--nats", "nats://"+nats)
	}
	if !n.Ingest {
		args = append(args, "--roles", "fetch")
	} else {
		args = append(args, "--create-bucket")
	}
	if c.Journals > 0 {
		args = append(args, "--journals", strconv.Itoa(c.Journals))
	}
	n.command = proc.Command{Path: c.Binary, Args: append(args, c.Flags...), Env: c.Env}
	if c.Log != nil {
		log, err := c.Log(n.Name)
		if err != nil {
			return err
		}
		n.command.Stdout, n.command.Stderr = log, log
	}
	return nil
}

func address(first, i int) (string, error) {
	if first == 0 {
		return proc.FreeAddr()
	}
	return fmt.Sprintf("127.0.0.1:%d", first+i), nil
}

// surround starts the proxies of a node. It returns the addresses that the node dials, and
// the flags of its listeners. Its address for clients is that of a line then.
func (n *Node) surround(c Config, s *Set, i uint64) (store, nats string, listen []string, err error) {
	peers, err := proc.FreeAddr()
	if err != nil {
		return "", "", nil, err
	}
	if n.Clients, err = faultproxy.StartLine(n.Kafka, nil); err != nil {
		return "", "", nil, err
	}
	if n.Peers, err = faultproxy.StartLine(peers, s.owner); err != nil {
		return "", "", nil, err
	}
	if n.Store, err = faultproxy.Start(c.Store, c.Seed+i); err != nil {
		return "", "", nil, err
	}
	if c.NATS != "" {
		if n.Bus, err = faultproxy.StartLine(c.NATS, nil); err != nil {
			return "", "", nil, err
		}
		nats = n.Bus.Address()
	}
	listen = []string{"--listen", "clients=" + n.Kafka + ",peers=" + peers,
		"--advertise", "clients=" + n.Clients.Address() + ",peers=" + n.Peers.Address(), "--inter-broker-listener", "peers"}
	n.Kafka = n.Clients.Address()
	return n.Store.Address(), nats, listen, nil
}

// Operate runs a command of varve against the cluster to its end.
func (s *Set) Operate(ctx context.Context, args ...string) error {
	process, err := proc.Start(proc.Command{Path: s.config.Binary, Args: append(args, "--bootstrap", strings.Join(s.Seeds(), ",")), Env: s.config.Env})
	if err != nil {
		return err
	}
	select {
	case <-process.Done():
		err = process.Wait()
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), process.Kill())
	}
	if err != nil {
		return fmt.Errorf("varve %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(process.Output()))
	}
	return nil
}
