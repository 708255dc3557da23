package node

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
)

type knownLeaders map[uint32]membership.Known

func (f knownLeaders) Leader(journal uint32) membership.Known { return f[journal] }

func TestMembersAreDescribedByJournal0AndTheLeaders(t *testing.T) {
	one, two := segment.ID{1}, segment.ID{2}
	run := metadata.Run{MinLevel: 1, MaxLevel: 3, Roles: metadata.RoleIngest | metadata.RoleTiering, Listeners: []metadata.Listener{{Name: "a", Host: "h", Port: 9}}}
	c := &metadata.Cluster{Seq: 7, Nodes: []metadata.Node{
		{Node: one, ID: 1, State: metadata.StateServing, Run: run},
		{Node: two, ID: 2, State: metadata.StateDrained, Fence: metadata.FencedSilent, Run: run},
		{Node: segment.ID{3}, ID: 3},
	}, Assignments: []metadata.Assignment{
		{Journal: 1, Number: 2, Node: one, Home: two, Why: metadata.WhyFenced, Moves: 1},
		{Journal: 2, Number: 1, Home: two, Why: metadata.WhyParked},
		{Journal: 3},
	}}
	known := knownLeaders{0: {Node: one, Epoch: 4}, 1: {Node: two, Epoch: 3}, 3: {Epoch: 5}}
	since := time.Unix(9, 0)
	m := membersOf(c, known, func(node segment.ID) time.Time { return since })
	if *m.Controller != 1 || m.Seq != 7 || m.Answered != nil {
		t.Errorf("%+v", m)
	}
	if n := m.Nodes[0]; n.State != "serving" || n.Fenced != "no" || n.FencedSince != nil || n.Kafka != "h:9" || len(n.Roles) != 2 || n.Roles[1] != "tiering" {
		t.Errorf("node 1: %+v", n)
	}
	if n := m.Nodes[1]; n.State != "drained" || n.Fenced != "silent" || !n.FencedSince.Equal(since) {
		t.Errorf("node 2: %+v", n)
	}
	if n := m.Nodes[2]; n.State != "registered" || n.Kafka != "" {
		t.Errorf("node 3: %+v", n)
	}
	if j := m.Journals[0]; *j.Node != 1 || *j.Home != 2 || *j.Leader != 2 || j.Epoch != 3 || j.Why != "fenced" || j.Moves != 1 {
		t.Errorf("journal 1: %+v", j)
	}
	if j := m.Journals[1]; j.Node != nil || *j.Home != 2 || j.Leader != nil || j.Why != "parked" {
		t.Errorf("journal 2: %+v", j)
	}
	if j := m.Journals[2]; j.Node != nil || j.Home != nil || j.Epoch != 5 || j.Why != "" {
		t.Errorf("journal 3: %+v", j)
	}
	if b, err := json.Marshal(m); err != nil || !json.Valid(b) {
		t.Error(err)
	}
	k := kafkaMembersOf(c, known)
	if n := k.Nodes[0]; k.Journals != 3 || len(n.Assigned) != 1 || len(n.Leads) != 1 || n.Leads[0] != 0 {
		t.Errorf("%+v", k)
	}
	if n := k.Nodes[1]; len(n.Assigned) != 0 || len(n.Leads) != 1 || n.Leads[0] != 1 {
		t.Errorf("%+v", n)
	}
}
