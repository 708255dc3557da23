package nodes_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/natsd"
	"github.com/varvelog/varve/testenv/nodes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 90 * time.Second

func start(t *testing.T, change func(*nodes.Config), used ...**testenv.MinIOServer) *nodes.Set {
	t.Helper()
	store := testenv.MinIO(t)
	for _, u := range used {
		*u = store
	}
	nats, err := natsd.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Stop)
	c := nodes.Config{Binary: testenv.VarveBinary(t), Dir: t.TempDir(), Store: store.Address, Bucket: store.Bucket + "/events?secure=false",
		Env: nodes.Environment(store.Env()...), NATS: nats.Address(), Flags: []string{"--flush-interval", "20ms"}}
	change(&c)
	set, err := nodes.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range set.Nodes {
			if t.Failed() {
				t.Logf("%s printed:\n%s", n.Name, n.Log())
			}
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range set.Nodes {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if err := n.AwaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return set
}

func client(t *testing.T, n *nodes.Node) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Kafka), kgo.DefaultProduceTopic("events"), kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNodesRunBehindTheirProxies(t *testing.T) {
	set := start(t, func(c *nodes.Config) { c.Ingest, c.Fetch, c.Proxies = 1, 1, true })
	writes, reads := set.Writing()[0], set.Reading()[0]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	produce := func() {
		t.Helper()
		if err := client(t, writes).ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce()
	if requests, err := writes.Metric(ctx, "varve_store_requests_total"); err != nil || requests == 0 {
		t.Errorf("%v requests to the store, %v", requests, err)
	}
	for _, n := range set.Nodes {
		status, err := n.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if leads := len(status.Leads()) > 0; leads != n.Ingest || !status.Announcing || status.UUID == "" {
			t.Errorf("%s: %+v", n.Name, status)
		}
	}
	// Clients get the address of the proxy, and are refused once the node is dead.
	brokers, err := kadm.NewClient(client(t, writes)).ListBrokers(ctx)
	if err != nil || !slices.ContainsFunc(brokers, func(b kadm.BrokerDetail) bool { return "127.0.0.1:"+port(b.Port) == writes.Kafka }) {
		t.Errorf("brokers %v, %v; not %s", brokers, err, writes.Kafka)
	}
	if err := writes.Kill(); err != nil {
		t.Fatal(err)
	}
	if client(t, writes).Ping(ctx) == nil {
		t.Error("a dead node answers")
	}
	if err := client(t, reads).Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := writes.Start(); err != nil {
		t.Fatal(err)
	}
	if err := writes.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	produce()
	if err := writes.Stop(patience); err != nil {
		t.Error(err)
	}
}

// Each start of a node begins a leadership, with some objects or with hundreds.
func TestLeadershipsAreFoundInTheBucket(t *testing.T) {
	var store *testenv.MinIOServer
	set := start(t, func(c *nodes.Config) { c.Ingest = 1; c.Flags = append(c.Flags, "--flush-interval", "1ms") }, &store)
	writes := set.Writing()[0]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	bucket, err := nodes.OpenBucket(store.Address, store.AccessKey, store.SecretKey, store.Bucket, "events/")
	if err != nil {
		t.Fatal(err)
	}
	status, err := writes.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for life, records := range []int{1, 120, 0, 40} {
		if life > 0 {
			if err := errors.Join(writes.Kill(), writes.Start(), writes.AwaitReady(ctx)); err != nil {
				t.Fatal(err)
			}
		}
		c := client(t, writes)
		for range records {
			if err := c.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		all, err := bucket.Leaderships(ctx, 1)
		if err != nil || len(all) != life+1 || nodes.Forced(all) != life {
			t.Fatalf("in life %d: %+v, %v", life, all, err)
		}
		for i, l := range all {
			if l.Epoch != uint32(i+1) || l.Node.String() != status.UUID || !l.HandedTo.IsZero() {
				t.Errorf("in life %d: %+v", life, all)
			}
		}
	}
}

func port(n int32) string { return strconv.Itoa(int(n)) }
