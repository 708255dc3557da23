package integration

import (
	"context"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/faultproxy"
	"github.com/varvelog/varve/testenv/nodes"
)

// oldBinary names an environment variable with the path of an older varve binary, one that
// does not know clusters.
const oldBinary = "VARVE_OLD_BIN"

// The controller stands still until another one leads, and goes on then as if nothing had been.
func TestAControllerThatWakesIsNoSecondOne(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 3, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	victim, others := s.controller()
	before := s.leaderships()
	s.do(victim.Pause())
	s.awaitLed(others...)
	writing.progress(t, 300)
	s.do(victim.Continue())
	// Both are asked at once: the one that woke must ask the other.
	for _, n := range s.Nodes {
		createTopic(t, n.Kafka, "by-"+n.Name, 3)
	}
	for _, n := range s.Nodes {
		for _, by := range s.Nodes {
			awaitTopicAt(t, n.Kafka, "by-"+by.Name)
		}
	}
	s.awaitShares(s.Writing()...)
	s.wantMore(before, func(uint32) int { return 2 }) // away and, after a while, home again
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", victim)
}

// A producer knows only a node that has lost its journals and does not know it, because it
// reaches neither the bucket nor other nodes.
func TestAProducerOfADeposedLeaderGetsNoFalseAcknowledgement(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	victim, others := s.without(s.Nodes[0])
	early := s.produce("events", partitions, acksAll...)
	early.progress(t, 300)
	before := s.leaderships()
	s.Cut([]*nodes.Node{victim}, others)
	victim.Store.Set(faultproxy.Fault{Kind: faultproxy.BlackHole, Rate: 1, Delay: time.Minute})
	late := keepWriting(t, victim.Kafka, "events", partitions, append(acksAll, kgo.SeedBrokers(victim.Kafka))...)
	s.awaitLed(others...)
	time.Sleep(time.Minute)
	early.progress(t, 300)
	s.Heal()
	victim.Store.Set()
	late.progress(t, 300)
	s.awaitShares(s.Writing()...)
	s.wantMore(before, func(uint32) int { return 2 })
	s.wantWritten(late, "events", s.Nodes...)
	s.wantWritten(early, "events", s.Nodes...)
}

// Messages of NATS are hints. Late, doubled, changed and forged ones cost time only.
func TestForgedAnnouncementsMoveNothing(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 1)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	before := s.leaderships()
	forged := forge(t, s.nats.URL(), 1)
	writing.progress(t, 3000)
	s.do(s.Reading()[0].Kill()) // one that starts has to distinguish them from nothing
	s.start(s.Reading()[0])
	writing.progress(t, 1000)
	if forged() < 100 {
		t.Errorf("%d messages forged, which proves nothing", forged())
	}
	s.wantMore(before, func(uint32) int { return 0 })
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", s.Reading()[0])
}

// forge listens to all messages, and sends each again: at once, later in another order, and
// with bytes changed. It goes on until the test ends. The function it returns counts them.
func forge(t *testing.T, url string, seed uint64) (count func() int64) {
	t.Helper()
	conn, err := nats.Connect(url, nats.NoEcho())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	const headerSize, kept = 21, 200
	var sent atomic.Int64
	random := rand.New(rand.NewPCG(seed, 0))
	var old []*nats.Msg
	send := func(subject string, data []byte) {
		if conn.Publish(subject, data) == nil {
			sent.Add(1)
		}
	}
	_, err = conn.Subscribe(">", func(m *nats.Msg) { // one goroutine calls it
		send(m.Subject, m.Data)
		if old = append(old, m); len(old) > kept {
			old = old[1:]
		}
		late := old[random.IntN(len(old))]
		send(late.Subject, late.Data)
		if len(m.Data) <= headerSize {
			return
		}
		changed := append([]byte(nil), m.Data...)
		for range 1 + random.IntN(3) {
			changed[headerSize+random.IntN(len(changed)-headerSize)] = byte(random.Uint32())
		}
		send(m.Subject, changed)
		send(m.Subject, changed[:random.IntN(len(changed))])
	})
	if err != nil {
		t.Fatal(err)
	}
	return sent.Load
}

// The store is slow for one node only. It may keep its journals or lose them, once.
func TestAStoreThatIsSlowForOneNodeLosesNothing(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	_, others := s.controller()
	victim := others[0]
	victim.Store.Set(faultproxy.Fault{Kind: faultproxy.Latency, Rate: 1, Delay: time.Second, P99: 4 * time.Second})
	awaitFired(t, victim, faultproxy.Latency)
	writing.progress(t, 2000)
	time.Sleep(cutFor)
	s.wantMore(before, func(uint32) int { return 1 })
	victim.Store.Set()
	s.awaitShares(s.Writing()...)
	s.wantWritten(writing, "events", s.Nodes...)
	s.wantOnce("events", others[0])
}

// A program that does not know clusters ends when it reads the bucket, and harms nothing.
func TestAnOlderProgramStandsAside(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	old := os.Getenv(oldBinary)
	if old == "" {
		t.Skipf("set %s to the path of an older varve binary", oldBinary)
	}
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	for _, roles := range []string{"ingest,fetch,tiering", "fetch"} {
		out := refused(t, testenv.Varve{Path: old, Env: s.store.Env(), Args: []string{"--bucket", s.store.URL("events"), "--roles", roles}})
		wantLine(t, string(out.Stderr), "level")
		if out.Code != permanent {
			t.Errorf("with %s it ends with code %d", roles, out.Code)
		}
	}
	writing.progress(t, 300)
	s.wantMore(before, func(uint32) int { return 0 })
	s.wantWritten(writing, "events", s.Nodes...)
}

// A node that joins for a while and is never reached by the others, nor reaches them.
func TestAnIsolatedNodeThatJoinsChangesNothing(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	writing.progress(t, 300)
	before := s.leaderships()
	lone, err := s.Add(true)
	s.do(err)
	s.Cut([]*nodes.Node{lone}, s.Nodes[:2])
	s.do(lone.Start())
	ctx, cancel := context.WithTimeout(context.Background(), 2*cutFor)
	defer cancel()
	if lone.AwaitReady(ctx) == nil {
		t.Error("a node that reaches no other is ready, though it is registered nowhere")
	}
	writing.progress(t, 300)
	s.wantMore(before, func(uint32) int { return 0 }) // journals move all the time, so it waits
	s.Heal()
	s.do(lone.AwaitReady(deadline(t)))
	s.wantWritten(writing, "events", s.Nodes...)
}
