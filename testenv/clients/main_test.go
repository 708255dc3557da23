package clients

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
)

var (
	all  = flag.Bool("clients.all", false, "run every family whose runtime is installed, and install its packages")
	only = flag.String("clients.only", "", "run the families whose names match this regular expression")
	peer = flag.String("clients.peer", "", "test the broker at this address instead of varve: to distinguish a client's behaviour from varve's")
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { findings.print(os.Stdout); os.Exit(code) }))
}

// startBroker returns the address of a node on MinIO, for a test and its
// subtests. The flush interval is that of make run, so that the many small
// steps of these tests do not take long. Members do not wait for others to
// join: each one that joins begins a rebalance.
func startBroker(t *testing.T) string {
	t.Helper()
	if *peer != "" {
		return *peer
	}
	store := testenv.MinIO(t)
	node := testenv.Varve{Env: store.Env(), Args: []string{"--bucket", store.URL("clients"), "--flush-interval", "20ms",
		"--group-initial-rebalance-delay", "0s"}}
	return node.Start(t).Kafka
}

// A feature is a capability that an application needs from a client and its
// broker.
type feature struct {
	name string
	test func(*testing.T, client)
}

var features = []feature{
	{"none", compression("none")}, {"gzip", compression("gzip")}, {"snappy", compression("snappy")},
	{"lz4", compression("lz4")}, {"zstd", compression("zstd")},
	{"idempotent", idempotent}, {"seek", seekTime},
	{"topics", topics}, {"configs", configs}, {"partitions", morePartitions}, {"offsets", listOffsets}, {"delete-records", deleteRecords},
	{"group", group}, {"sticky", sticky}, {"static", static}, {"group-admin", groupAdmin},
}

func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("needs MinIO: run without -short")
	}
	broker := startBroker(t)
	pattern := regexp.MustCompile(*only)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			if !pattern.MatchString(f.name) || *only == "" && !*all && !f.always {
				t.Skip("left to make clients")
			}
			c := client{family: f, broker: broker, command: f.install(t)}
			for _, feature := range features {
				t.Run(feature.name, func(t *testing.T) { c.check(t, feature) })
			}
		})
	}
}

// check runs one feature and notes its outcome.
func (c client) check(t *testing.T, f feature) {
	t.Parallel()
	t.Cleanup(func() { findings.note(f.name, c.family.name, outcome(t)) })
	if why := c.family.lacks[f.name]; why != "" {
		t.Skip(why)
	}
	f.test(t, c)
}

// named returns a name for an object of a test: a topic, a group, a member.
func (c client) named(kind string) string { return fmt.Sprintf("%s-%s", c.family.name, kind) }
