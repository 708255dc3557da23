package clients

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv"
)

// sentAway are the families that may read from a fetch node. They must be back when it dies.
var sentAway = []string{"java-4"}

// TestFetchNodesServe has each family read old records in a cluster with two fetch nodes, which
// are killed while it waits for more. The families that come back at once are sent to the fetch
// nodes. The others read from the leader. Each of them gets all records, once.
func TestFetchNodesServe(t *testing.T) {
	if testing.Short() || *peer != "" {
		t.Skip("needs MinIO: run without -short")
	}
	s := newSteering(t)
	pattern := regexp.MustCompile(*only)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			if !pattern.MatchString(f.name) || *only == "" && !*all && !f.always {
				t.Skip("left to make clients")
			}
			t.Cleanup(func() { findings.note(steered, f.name, outcome(t)) })
			if why := f.lacks[steered]; why != "" {
				t.Skip(why)
			}
			s.check(t, client{family: f, broker: s.writer.Kafka, command: f.install(t)})
		})
	}
}

// steered is a line of the table of findings.
const steered = "fetch-nodes"

// steering is a cluster whose writer has no record in memory that was there before.
type steering struct {
	writer  *testenv.Node
	readers []*testenv.Node
	all     []event // of the topic
}

const steeringTopic, steeringPartitions = "archive", 2

func newSteering(t *testing.T) *steering {
	t.Helper()
	store := testenv.MinIO(t)
	nats := testenv.FreeAddr(t)
	start := func(flags ...string) *testenv.Node {
		return testenv.Varve{Env: store.Env(), Args: append(flags, "--bucket", store.URL("steering"), "--flush-interval", "20ms")}.Start(t)
	}
	s := &steering{writer: start("--nats", "embedded://"+nats)}
	createNamed(t, s.writer.Kafka, steeringTopic, steeringPartitions)
	s.write(t, 20_000)
	for range 2 {
		s.readers = append(s.readers, start("--nats", "nats://"+nats, "--roles", "fetch"))
	}
	return s
}

// write writes n records more.
func (s *steering) write(t *testing.T, n int) {
	t.Helper()
	more := events(steeringPartitions, len(s.all), n)
	write(t, s.writer.Kafka, steeringTopic, more)
	s.all = append(s.all, more...)
}

// check has one family read everything, and then the records that are written after the fetch
// nodes have died.
func (s *steering) check(t *testing.T, c client) {
	t.Helper()
	s.writer.Stop(t) // old records are those that it does not have in memory
	s.writer.Restart(t)
	s.awaitReaders(t)
	const more = 1000
	before, fromLeader := s.served(t, s.readers...), s.served(t, s.writer)
	old := len(s.all)
	m := &member{name: c.family.name}
	m.process = c.start(t, "consume", spec{Topic: steeringTopic, Partitions: steeringPartitions, Since: -1, Count: old + more}, bytes.NewReader(nil), m)
	eventually(t, func() error { return m.got(t, old) })
	away, here := s.served(t, s.readers...)-before, s.served(t, s.writer)-fromLeader
	t.Logf("fetch nodes answered with %.0f bytes, the leader with %.0f", away, here)
	if wanted := slices.Contains(sentAway, c.family.name); wanted != (away > here) || !wanted && away > 0 {
		t.Errorf("fetch nodes answered with %.0f bytes, the leader with %.0f", away, here)
	}
	for _, reader := range s.readers {
		reader.Kill(t)
	}
	s.write(t, more)
	eventually(t, func() error { return m.got(t, old+more) })
	m.end(t)
	same(t, m.events(t), s.all)
	for _, reader := range s.readers {
		reader.Restart(t)
	}
}

// awaitReaders waits until the writer counts on both fetch nodes.
func (s *steering) awaitReaders(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		serving, _, err := total(s.writer, `varve_nodes{state="serving"}`)
		fenced, known, errFenced := total(s.writer, "varve_nodes_fenced")
		if err != nil || errFenced != nil || !known || int(serving) != 1+len(s.readers) || fenced > 0 {
			return fmt.Errorf("%.0f nodes serve, %.0f of them do not answer (%v, %v)", serving, fenced, err, errFenced)
		}
		return nil
	})
}

// served is the number of bytes of answers to fetches.
func (s *steering) served(t *testing.T, nodes ...*testenv.Node) (sum float64) {
	t.Helper()
	for _, node := range nodes {
		n, _, err := total(node, `varve_kafka_response_bytes_total{api="Fetch"}`)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// got is nil once the process has printed n records.
func (m *member) got(t *testing.T, n int) error {
	t.Helper()
	if got := len(m.events(t)); got < n {
		select {
		case <-m.process.Done():
			t.Fatalf("%s ended after %d of %d records; it printed:\n%s", m.name, got, n, m.process.Output())
		default:
		}
		return fmt.Errorf("%s has %d of %d records", m.name, got, n)
	}
	return nil
}
