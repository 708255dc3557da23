package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv"
)

// An operator looks at a cluster of two, gives it journals, loses a node and removes it.
func TestAnOperatorLooksAfterACluster(t *testing.T) {
	t.Parallel()
	s := startSeveral(t, 2, 0)
	partitions := s.topic("events")
	writing := s.produce("events", partitions, acksAll...)
	stays, others := s.controller()
	dies := others[0]
	var listed []struct {
		ID         int
		State      string
		Controller bool
		Leads      []uint32
	}
	if err := json.Unmarshal([]byte(s.run(dies, "node", "list", "-o", "json")), &listed); err != nil || len(listed) != 2 {
		t.Fatalf("%+v, %v", listed, err)
	}
	for _, n := range listed {
		if n.State != "serving" || len(n.Leads) != 2 || n.Controller != (fmt.Sprint(n.ID) == s.id(stays)) {
			t.Errorf("listed as %+v", n)
		}
	}
	s.run(dies, "cluster", "journals", "6", "--yes") // by the node that is not the controller
	s.journals = 6
	s.awaitShares(s.Writing()...)
	s.run(stays, "cluster", "status")
	if out := s.command(stays, "node", "remove", s.id(dies), "--yes"); out.Code != 1 {
		t.Errorf("a node that serves is removed: code %d", out.Code)
	} else {
		wantLine(t, string(out.Stderr), "drain it first")
	}

	gone := s.id(dies)
	writing.progress(t, 100)
	s.do(dies.Kill())
	s.awaitLed(stays)
	writing.progress(t, 100)
	out := s.command(stays, "cluster", "status")
	if out.Code != 1 {
		t.Errorf("a cluster with a dead node has code %d", out.Code)
	}
	if text := string(out.Stdout); !strings.Contains(text, "trouble: node "+gone+" does not answer (refused)") {
		t.Errorf("the dead node is no trouble:\n%s", text)
	}
	events := string(testenv.Varve{Args: []string{"cluster", "events", "--http", stays.HTTP}}.Run(t, patience).Stdout)
	for _, want := range []string{"the cluster has 6 journals", "node " + gone + " is not counted on any more", "(fenced), after "} {
		if !strings.Contains(events, want) {
			t.Errorf("no %q in the events\n%s", want, events)
		}
	}
	s.run(stays, "node", "remove", gone, "--yes")
	s.run(stays, "cluster", "status")
	s.do(dies.Start())
	select {
	case <-dies.Process().Done():
	case <-time.After(patience):
		t.Error("a removed node goes on")
	}
	s.wantWritten(writing, "events", stays)
}
