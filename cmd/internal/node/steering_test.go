package node

import (
	"slices"
	"testing"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/fetch/steer"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

// Consumers are sent to fetch nodes that serve and answer, and to no others.
func TestTheFetchNodesThatAreCountedOn(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	both := n.meta.Cluster().Node(nodeNo(2)).Run
	both.Start, both.Roles = segment.ID{10}, metadata.RoleIngest|metadata.RoleFetch
	third := []steer.Node{{ID: 3, Rack: "r2"}}
	for _, step := range []struct {
		change metadata.Change
		want   []steer.Node
	}{
		{metadata.NodeStarted{Node: nodeNo(2), Run: both}, third}, // it writes
		{metadata.NodeFenced{Node: nodeNo(3), Fence: metadata.FencedSilent}, nil},
		{metadata.NodeFenced{Node: nodeNo(3), Fence: metadata.NotFenced}, third},
		{metadata.NodeSet{Node: nodeNo(3), State: metadata.StateDrained}, nil},
		{metadata.NodeSet{Node: nodeNo(3), State: metadata.StateServing}, third},
		{metadata.NodeSet{Node: nodeNo(3), State: metadata.StateLeaving}, nil},
	} {
		n.commit(t, step.change)
		got, ok := n.steer()
		if !ok || got.Self != (steer.Node{ID: 1, Rack: "r1"}) || got.Reads || !slices.Equal(got.Readers, step.want) {
			t.Errorf("after %+v: %+v, want the fetch nodes %v", step.change, got, step.want)
		}
	}
}
