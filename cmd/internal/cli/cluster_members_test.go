package cli_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/cli"
	"github.com/varvelog/varve/cmd/internal/status"
)

func pointer[T any](v T) *T { return &v }

// members is a cluster of two nodes as node 1 knows it.
func members() *status.Members {
	return &status.Members{
		Seq: 9, Controller: pointer(int32(1)), Answered: pointer(time.Now()),
		Nodes: []status.Member{
			{ID: 1, State: "serving", Fenced: "no", Roles: []string{"ingest"}, Kafka: "h:1"},
			{ID: 2, State: "drained", Fenced: "no", Roles: []string{"ingest"}, Kafka: "h:2"},
			{ID: 3, State: "removed", Fenced: "no"},
		},
		Journals: []status.Assigned{
			{Journal: 1, Node: pointer(int32(1)), Home: pointer(int32(2)), Number: 2, Why: "drained", Leader: pointer(int32(1)), Epoch: 7},
			{Journal: 2, Node: pointer(int32(1)), Home: pointer(int32(1)), Number: 1, Why: "first", Leader: pointer(int32(2)), Epoch: 3},
		},
		Moves: []status.Move{{Journal: 2, Taking: true, Since: time.Unix(0, 0), Waits: "until node 2 hands it over"}},
	}
}

// memberStatus is the status of a node of cluster cid that leads some journals.
func memberStatus(id int32, m *status.Members, leads ...uint32) status.Node {
	n := status.Node{Version: "v9", State: status.Ready, Roles: []string{"ingest", "fetch"}, ID: &id, Cluster: &status.Cluster{ID: "cid"}, Members: m}
	n.Journals = append(n.Journals, status.Journal{Leads: id == 1, Head: uint64(20 - id), Epoch: pointer(uint32(5))})
	for _, journal := range leads {
		n.Journals = append(n.Journals, status.Journal{Journal: journal, Leads: true, Head: 40, Partitions: 4, Pending: pointer(int64(1024)), Unmerged: pointer(int64(2048)), SetAside: pointer(0)})
	}
	return n
}

func TestTheStatusOfSeveralNodesComesFromAnyOfThem(t *testing.T) {
	s, c := newSeveral(t)
	text := func(n status.Node) string {
		b, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	cluster := strings.TrimSpace(strings.SplitN(c.run(t, "cluster", "status", "-o", "json").stdout, `"cluster": "`, 2)[1])
	cluster, _, _ = strings.Cut(cluster, `"`)
	one := memberStatus(0, members(), 1) // kfake's broker is node 0
	one.Members.Nodes[0].ID, one.Members.Controller = 0, pointer(int32(0))
	one.Members.Journals[0].Leader, one.Journals[0].Leads = pointer(int32(0)), true
	one.Cluster.ID, s.status = cluster, ""
	s.status = text(one)
	behind := members()
	behind.Seq = 6
	other := memberStatus(2, behind, 2)
	other.Cluster.ID = cluster
	two := node(t, func() status.Node { return other })
	o := c.run(t, "cluster", "status", "--http", two)
	o.expect(t, cli.ExitOK, "controller 0", "moving: node 0 takes journal 2 since 00:00:00Z, waits until node 2 hands it over")
	for _, want := range []string{
		"ready, serving ingest,fetch krack 0 ", "2 h:2 ready, drained ingest,fetch - 3 ", "0 0 - - - 5 20 2 - - - -",
		"1 0 2 1 drained 7 40 - 4 1.0 KiB 2.0 KiB 0", "2 2 1 1 first 3 40 - 4 ",
	} {
		if !strings.Contains(words(o.stdout), want) {
			t.Errorf("no %q in\n%s", want, o.stdout)
		}
	}

	m := one.Members
	m.Controller, m.Nodes[1].State, m.Nodes[1].Fenced, m.Nodes[1].FencedSince = nil, "serving", "silent", pointer(time.Unix(60, 0))
	m.Nodes = append(m.Nodes, status.Member{ID: 4, State: "serving", Fenced: "no", Kafka: "h:4"})
	m.Journals[0].Leader, m.Journals[1].Why, m.Journals[1].Deaths, m.Answered = nil, "parked", 3, pointer(time.Now().Add(-time.Minute))
	s.status = text(one)
	c.run(t, "cluster", "status").expect(t, cli.ExitFailure,
		"no node is known to be the controller", `node 2 does not answer (silent), since 1970-01-01T00:01:00Z: start it again, or remove it with "varve node remove"`,
		"node 4 does not answer this command at h:4", "journal 1 has no leader", "journal 2 is parked: 3 leaders in a row died", "node 0 has had no answer of the controller for 1m0s")
}

func TestEventsAreShownAndFollowed(t *testing.T) {
	asked := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.FormValue(status.AfterParam)
		all := []status.Event{
			{Number: 1, At: time.Unix(0, 0).UTC(), Kind: "fenced", Node: pointer(int32(2)), Why: "refused"},
			{Number: 2, At: time.Unix(1, 5e6).UTC(), Kind: "led", Node: pointer(int32(1)), Journal: pointer(uint32(3)), Epoch: pointer(uint32(8)), Why: "fenced", Took: pointer(0.25)},
			{Number: 3, At: time.Unix(2, 0).UTC(), Kind: "led", Node: pointer(int32(1)), Journal: pointer(uint32(0)), Epoch: pointer(uint32(9)), Why: "controller"},
		}
		switch r.FormValue(status.AfterParam) {
		case "2":
			all = all[2:]
		case "3":
			all = []status.Event{}
		default:
			all = all[:2]
		}
		status.Handler(func() []status.Event { return all }).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	const first = "1970-01-01T00:00:00.000Z  node 2 is not counted on any more (refused)\n1970-01-01T00:00:01.005Z  node 1 leads journal 3 in epoch 8 (fenced), after 0.25 s\n"
	o := command{}.run(t, "cluster", "events", "--http", "127.0.0.1:1,"+address)
	if o.expect(t, cli.ExitOK); o.stdout != first {
		t.Errorf("got\n%s", o.stdout)
	}
	o = command{}.run(t, "cluster", "events", "--http", address, "-o", "json")
	if lines := strings.Split(strings.TrimSpace(o.stdout), "\n"); len(lines) != 2 || !strings.Contains(lines[1], `"took_seconds":0.25`) || !json.Valid([]byte(lines[0])) {
		t.Errorf("got\n%s", o.stdout)
	}
	command{}.run(t, "cluster", "events", "--http", "127.0.0.1:1").expect(t, cli.ExitFailure, "name the HTTP address of a node with --http")

	<-asked
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // it has printed all when it asks for events after the third
		for after := range asked {
			if after == "3" {
				cancel()
			}
		}
	}()
	o = command{ctx: ctx}.run(t, "cluster", "events", "-f", "--http", address)
	if o.expect(t, cli.ExitOK); o.stdout != first+"1970-01-01T00:00:02.000Z  node 1 is the controller in epoch 9\n" {
		t.Errorf("got\n%s", o.stdout)
	}
	server.Close()
	close(asked)
}
