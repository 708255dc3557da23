package cli

import (
	"testing"

	"github.com/varvelog/varve/cmd/internal/status"
)

// TestAnotherClustersNodeAtTheDefaultAddressIsNoTrouble: the user did not name it.
func TestAnotherClustersNodeAtTheDefaultAddressIsNoTrouble(t *testing.T) {
	other := answers{{address: defaultHTTP, node: status.Node{Cluster: &status.Cluster{ID: "elsewhere"}}}}
	for named, want := range map[bool]int{false: 0, true: 1} {
		s := clusterStatus{Cluster: "here"}
		s.join(other, named)
		if len(s.Troubles) != want || len(s.Nodes) > 0 {
			t.Errorf("named %v: troubles %v, %d nodes", named, s.Troubles, len(s.Nodes))
		}
	}
}
