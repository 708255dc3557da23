package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/cmd/internal/status"
)

// node is an HTTP server that returns the status that of returns.
func node(t *testing.T, of func() status.Node) (address string) {
	t.Helper()
	server := httptest.NewServer(status.Handler(of))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func ready(id int32, cluster string) status.Node {
	epoch, pending, aside := uint32(7), int64(2048), 3
	return status.Node{
		Version: "v1.2.3", State: status.Ready, Roles: []string{"ingest", "fetch"}, ID: &id, Cluster: &status.Cluster{ID: cluster}, Kafka: "h:1",
		Journals: []status.Journal{
			{Leads: true, Head: 40, Epoch: &epoch},
			{Journal: 1, Leads: true, Head: 41, Partitions: 2, Pending: &pending, SetAside: &aside},
		},
	}
}

func TestClusterStatusJoinsReportsOfKafkaAndNodes(t *testing.T) {
	c := broker(t, kfake.SeedTopics(2, "a"), kfake.ClusterID("cid"))
	one := node(t, func() status.Node { return ready(0, "cid") })
	two := node(t, func() status.Node { return ready(1<<30, "cid") }) // not known to Kafka clients
	o := c.run(t, "cluster", "status", "--http", one+","+two)
	o.expect(t, cli.ExitOK, "cluster cid, controller 0, 2 nodes, 1 topic, 2 partitions", "v1.2.3", "1073741824")
	for _, want := range []string{"0 0 leads 40 7 - - -", "1 0 leads 41 ? 2 2.0 KiB 3"} {
		if !strings.Contains(words(o.stdout), want) {
			t.Errorf("no %q in %s", want, o.stdout)
		}
	}
	o = c.run(t, "cluster", "status", "--http", one, "-o", "json")
	var s struct {
		Nodes []struct {
			ID     int32
			Status *status.Node
		}
		Topics, Partitions int
		Troubles           []string
	}
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil || len(s.Nodes) != 1 || s.Nodes[0].Status.Journals[0].Head != 40 ||
		s.Topics != 1 || s.Partitions != 2 || s.Troubles == nil || len(s.Troubles) != 0 {
		t.Fatalf("%v in %s", err, o.stdout)
	}
}

func TestClusterStatusReportsTroubles(t *testing.T) {
	cluster, c := control(t, kfake.SeedTopics(2, "a"), kfake.ClusterID("cid"))
	busy := node(t, func() status.Node { return status.Node{Version: "v1", State: "reading journal 3"} })
	other := node(t, func() status.Node { return ready(0, "elsewhere") })
	troubled := node(t, func() status.Node {
		n := ready(0, "cid")
		n.State, n.Troubles = status.Troubled, []health.Trouble{{Kind: health.Disk, Subject: "journal 1", Text: "no room", NotReady: true}}
		return n
	})
	for address, want := range map[string]string{
		troubled:      "the node at " + troubled + " is not ready: disk (journal 1): no room; since 0001-01-01T00:00:00Z",
		busy:          "the node at " + busy + " is not ready: reading journal 3",
		other:         "is of another cluster, elsewhere",
		"127.0.0.1:1": "does not answer",
	} {
		o := c.run(t, "cluster", "status", "--http", address)
		o.expect(t, cli.ExitFailure, "trouble: ", want)
		if o.stderr != "varve: the cluster has 1 trouble\n" {
			t.Errorf("the printed troubles are printed again: %s", o.stderr)
		}
	}
	odd := httptest.NewServer(http.NotFoundHandler())
	defer odd.Close()
	c.run(t, "cluster", "status", "--http", strings.TrimPrefix(odd.URL, "http://")).expect(t, cli.ExitFailure, "404", "is it varve's --http address?")

	cluster.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := kreq.ResponseKind().(*kmsg.MetadataResponse)
		resp.ClusterID = kmsg.StringPtr("cid")
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("a")
		partition := kmsg.NewMetadataResponseTopicPartition()
		partition.Leader = -1
		topic.Partitions = append(topic.Partitions, partition)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	c.run(t, "cluster", "status").expect(t, cli.ExitFailure, "a/0: has no leader")

	// No node answers Kafka clients while it starts: the error says why.
	gone := command{environ: []string{"VARVE_BOOTSTRAP=127.0.0.1:1", "VARVE_HTTP=" + busy}}
	gone.run(t, "cluster", "status").expect(t, cli.ExitFailure, "no Kafka broker answers", "reading journal 3")
}
