package integration

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/natsd"
	"github.com/varvelog/varve/testenv/nodes"
)

// allClusters has all tests of clusters run. Most take a minute or more, because journals go home
// after half a minute.
var allClusters = flag.Bool("integration.clusters", false, "run all tests of clusters, not only the short ones")

// clusterPatience limits the wait for something that takes a minute by its rules, such as
// the return of a journal to its home.
const clusterPatience = 4 * time.Minute

// several is a cluster of several nodes, on a bucket and a NATS server of its own.
type several struct {
	*nodes.Set
	t        *testing.T
	store    *testenv.MinIOServer
	nats     *natsd.Server
	objects  nodes.Bucket
	journals uint32 // data journals
}

// startSeveral starts a cluster behind proxies, with two data journals for each node that
// writes. It returns when all nodes are ready and have their share.
func startSeveral(t *testing.T, ingest, fetch int, flags ...string) *several {
	t.Helper()
	if ingest > 1 {
		minutes(t)
	}
	s := prepareSeveral(t, ingest, fetch, flags...)
	for _, n := range s.Writing() {
		s.start(n)
	}
	for _, n := range s.Reading() {
		s.start(n)
	}
	s.awaitShares(s.Writing()...)
	return s
}

// minutes skips a test that waits for the share of each node, unless all tests are to run.
func minutes(t *testing.T) {
	t.Helper()
	if !*allClusters {
		t.Skip("takes a minute or more: run with -integration.clusters")
	}
}

// prepareSeveral is startSeveral for nodes that the test starts.
func prepareSeveral(t *testing.T, ingest, fetch int, flags ...string) *several {
	t.Helper()
	full(t)
	s := &several{t: t, store: testenv.MinIO(t), journals: uint32(2 * ingest)}
	var err error
	if s.nats, err = natsd.Start(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nats.Stop)
	if s.objects, err = nodes.OpenBucket(s.store.Address, s.store.AccessKey, s.store.SecretKey, s.store.Bucket, "events/"); err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir()
	flags = append([]string{"--flush-interval", "20ms", "--auto-create-topics=false"}, flags...)
	s.Set, err = nodes.New(nodes.Config{
		Binary: testenv.VarveBinary(t), Dir: t.TempDir(), Store: s.store.Address, Bucket: s.store.Bucket + "/events?secure=false",
		Env: nodes.Environment(s.store.Env()...), NATS: s.nats.Address(), Ingest: ingest, Fetch: fetch, Proxies: true,
		Journals: int(s.journals), Flags: flags,
		Log: func(node string) (io.Writer, error) { // in a file, too, for a test that hangs
			f, err := os.Create(filepath.Join(logs, node+".log"))
			if err == nil {
				t.Cleanup(func() { f.Close() })
			}
			return f, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

func (s *several) end() {
	for _, n := range s.Nodes {
		if log := n.Log(); s.t.Failed() && log != "" {
			s.t.Logf("%s printed:\n%s", n.Name, log)
		}
	}
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *several) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// start starts nodes and returns when they are ready.
func (s *several) start(some ...*nodes.Node) {
	s.t.Helper()
	for _, n := range some {
		s.do(n.Start())
	}
	for _, n := range some {
		s.do(n.AwaitReady(deadline(s.t)))
	}
}

// leaders returns the node that leads each journal, by their own reports. Nodes that do not
// answer lead nothing. Of two, the one of the later epoch leads: a node does not know that it
// was deposed while it does not reach the bucket.
func (s *several) leaders() map[uint32]*nodes.Node {
	led, epochs := map[uint32]*nodes.Node{}, map[uint32]uint32{}
	for _, n := range s.Nodes {
		if !n.Running() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		status, err := n.Status(ctx)
		cancel()
		if err != nil {
			continue
		}
		for _, j := range status.Journals {
			if j.Leads && j.Epoch > epochs[j.Journal] {
				led[j.Journal], epochs[j.Journal] = n, j.Epoch
			}
		}
	}
	return led
}

// await waits until a condition of the leaders holds.
func (s *several) await(what string, holds func(led map[uint32]*nodes.Node) bool) {
	s.t.Helper()
	for end := time.Now().Add(clusterPatience); ; time.Sleep(50 * time.Millisecond) {
		led := s.leaders()
		if holds(led) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("not within %v: %s; journals are led by %v", clusterPatience, what, named(led))
		}
	}
}

func named(led map[uint32]*nodes.Node) map[uint32]string {
	names := map[uint32]string{}
	for journal, n := range led {
		names[journal] = n.Name
	}
	return names
}

// awaitShares waits until all journals are led by these nodes, which have the same number of
// data journals but for one.
func (s *several) awaitShares(among ...*nodes.Node) {
	s.t.Helper()
	s.await("each has its share", func(led map[uint32]*nodes.Node) bool {
		count := map[*nodes.Node]int{}
		for _, n := range among {
			count[n] = 0
		}
		for journal := range s.journals + 1 {
			if !slices.Contains(among, led[journal]) {
				return false
			}
			if journal > 0 {
				count[led[journal]]++
			}
		}
		counts := slices.Collect(maps.Values(count))
		return slices.Max(counts)-slices.Min(counts) <= 1
	})
}

// awaitLed waits until each journal, journal 0 too, is led by one of these nodes.
func (s *several) awaitLed(by ...*nodes.Node) {
	s.t.Helper()
	s.await("all journals are led by the nodes that live", func(led map[uint32]*nodes.Node) bool {
		for journal := range s.journals + 1 {
			if !slices.Contains(by, led[journal]) {
				return false
			}
		}
		return true
	})
}

// controller returns the node that leads journal 0, and others the other nodes that write.
func (s *several) controller() (controller *nodes.Node, others []*nodes.Node) {
	s.t.Helper()
	s.await("there is a controller", func(led map[uint32]*nodes.Node) bool { controller = led[0]; return controller != nil })
	return controller, slices.DeleteFunc(s.Writing(), func(n *nodes.Node) bool { return n == controller })
}

// leaderships reads the leaderships of each journal from the bucket.
func (s *several) leaderships() map[uint32][]nodes.Leadership {
	s.t.Helper()
	all := map[uint32][]nodes.Leadership{}
	for journal := range s.journals + 1 {
		var err error
		if all[journal], err = s.objects.Leaderships(deadline(s.t), journal); err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

// wantMore compares the numbers of leaderships with those of before. more returns how many
// may have begun since at most, for each journal.
func (s *several) wantMore(before map[uint32][]nodes.Leadership, more func(journal uint32) int) {
	s.t.Helper()
	for journal, now := range s.leaderships() {
		if n := len(now) - len(before[journal]); n > more(journal) {
			s.t.Errorf("%d leaderships of journal %d began, want %d at most: %+v", n, journal, more(journal), now[len(before[journal]):])
		}
	}
}

// seeds has a client know all nodes from the start.
func (s *several) seeds(options ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{kgo.SeedBrokers(s.Seeds()...)}, options...)
}

// topic creates a topic with two partitions for each journal, and returns their number.
func (s *several) topic(name string) int {
	s.t.Helper()
	partitions := int(2 * s.journals)
	createTopic(s.t, s.Writing()[0].Kafka, name, int32(partitions))
	return partitions
}

// produce writes to a topic without end, at all nodes.
func (s *several) produce(topic string, partitions int, options ...kgo.Opt) *writing {
	s.t.Helper()
	return keepWriting(s.t, s.Seeds()[0], topic, partitions, s.seeds(options...)...)
}

// wantWritten ends the writing. Each record must have been acknowledged, and be there once,
// at each node.
func (s *several) wantWritten(w *writing, topic string, at ...*nodes.Node) {
	s.t.Helper()
	acknowledged := w.end(s.t)
	if len(w.failed) > 0 {
		s.t.Errorf("%d records were given up, first for: %v", len(w.failed), w.failed[0])
	}
	for _, n := range at {
		wantAcknowledged(s.t, n.Kafka, topic, acknowledged)
	}
	s.t.Logf("%d records acknowledged", len(acknowledged))
}

// wantOnce wants each value of a topic once.
func (s *several) wantOnce(topic string, at *nodes.Node) {
	s.t.Helper()
	seen := map[string]string{}
	for partition, log := range readAll(s.t, at.Kafka, topic) {
		for _, r := range log {
			place := fmt.Sprintf("%d/%d", partition, r.Offset)
			if first, twice := seen[string(r.Value)]; twice {
				s.t.Errorf("%q is at %s and %s", r.Value, first, place)
			}
			seen[string(r.Value)] = place
		}
	}
}

// run runs a command of varve against a node, and returns its output.
func (s *several) run(at *nodes.Node, args ...string) string {
	s.t.Helper()
	out := s.command(at, args...)
	if out.Code != 0 {
		s.t.Fatalf("varve %s: exit code %d: %s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return string(out.Stdout)
}

// id returns the broker id of a node.
func (s *several) id(n *nodes.Node) string {
	s.t.Helper()
	status, err := n.Status(deadline(s.t))
	if err != nil || status.ID == nil {
		s.t.Fatalf("status of %s: %+v, %v", n.Name, status, err)
	}
	return fmt.Sprint(*status.ID)
}

// command is run for one that may fail.
func (s *several) command(at *nodes.Node, args ...string) testenv.Output {
	s.t.Helper()
	return testenv.Varve{Args: append(args, "--bootstrap", at.Kafka)}.Run(s.t, patience)
}
