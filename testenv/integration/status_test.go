package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/varvelog/varve/testenv"
)

// clusterStatus is the output of varve cluster status, as far as tests need it.
type clusterStatus struct {
	Cluster    string
	Controller int32
	Topics     int
	Partitions int
	Nodes      []struct {
		ID     int32
		Status *struct {
			State, UUID string
			Roles       []string
			Journals    []struct {
				Journal    uint32
				Leads      bool
				Head       uint64
				Epoch      *uint32
				Partitions int
			}
		}
	}
	Troubles []string
}

func TestClusterStatusOfLeadersAndFollowers(t *testing.T) {
	t.Parallel()
	b := fileBucket(t)
	leader := b.start(t)
	mustRun(t, leader, "topic", "create", "a", "--partitions", "4")
	follower := b.start(t, "--roles", "fetch", "--archive")
	out := mustRun(t, leader, "cluster", "status", "--http", leader.HTTP+","+follower.HTTP, "-o", "json")
	var s clusterStatus
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(s.Nodes) != 2 || s.Topics != 1 || s.Partitions != 4 || s.Controller != s.Nodes[0].ID || len(s.Troubles) != 0 {
		t.Fatalf("got %s", out)
	}
	for i, leads := range []bool{true, false} {
		n := s.Nodes[i].Status
		if n == nil || n.State != "ready" || strings.Contains(strings.Join(n.Roles, " "), "ingest") != leads || len(n.Journals) != 2 {
			t.Fatalf("node %d: got %s", i, out)
		}
		for _, j := range n.Journals {
			if j.Leads != leads || j.Head == 0 || j.Epoch == nil || *j.Epoch == 0 || j.Journal == 1 && j.Partitions != 4 {
				t.Errorf("node %d, journal %d: got %s", i, j.Journal, out)
			}
		}
	}
}

// A group is managed with varve alone, by its own broker.
func TestGroupsAreReadResetAndDeleted(t *testing.T) {
	t.Parallel()
	node := fileBucket(t).start(t)
	mustRun(t, node, "topic", "create", "a", "--partitions", "2")
	for _, p := range []string{"0", "1"} {
		args := []string{"produce", "a", "--partition", p, "--bootstrap", node.Kafka}
		if out := (testenv.Varve{Args: args, Stdin: strings.NewReader("1\n2\n3\n4\n5\n")}).Run(t, patience); out.Code != 0 {
			t.Fatalf("exit code %d: %s", out.Code, out.Stderr)
		}
	}
	if out := mustRun(t, node, "consume", "a", "--group", "g", "--max", "4"); strings.Count(string(out), "\n") != 4 {
		t.Errorf("got %q", out)
	}
	if out := mustRun(t, node, "consume", "a", "--group", "g", "--until-end"); strings.Count(string(out), "\n") != 6 {
		t.Errorf("got %q", out)
	}
	if out := string(mustRun(t, node, "group", "describe", "g")); !strings.Contains(out, "group g, Empty") || !strings.Contains(out, "lag 0") {
		t.Errorf("got %s", out)
	}
	mustRun(t, node, "group", "reset-offsets", "g", "--shift-by", "-2", "--execute")
	if out := string(mustRun(t, node, "group", "describe", "g")); !strings.Contains(out, "lag 4") {
		t.Errorf("got %s", out)
	}
	if out := mustRun(t, node, "consume", "a", "--group", "g", "--until-end"); strings.Count(string(out), "\n") != 4 {
		t.Errorf("got %q", out)
	}
	mustRun(t, node, "group", "delete", "g", "--yes")
	if out := string(mustRun(t, node, "group", "list", "-o", "json")); out != "[]\n" {
		t.Errorf("got %s", out)
	}
}
