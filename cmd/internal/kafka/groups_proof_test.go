package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAllGroupsOfARequestShareAProof(t *testing.T) {
	c := newCluster()
	g, _ := script(t, c)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	for i := range 100 {
		id := fmt.Sprint("g", i)
		g.cl.ask(g.at(g.commit(id, "", -1, int64(i), "")))
		req.Groups = append(req.Groups, kmsg.OffsetFetchRequestGroup{Group: id})
	}
	for round := range 2 {
		c.groups.set(func(g *memGroups) { g.proven = 0 })
		for i, got := range g.cl.ask(req).(*kmsg.OffsetFetchResponse).Groups {
			if got.ErrorCode != 0 || len(got.Topics) != 1 || got.Topics[0].Partitions[0].Offset != int64(i) {
				t.Fatalf("group %d: %+v", i, got)
			}
		}
		c.groups.set(func(g *memGroups) {
			if g.proven != 1 {
				t.Errorf("request %d: %d proofs", round, g.proven)
			}
		})
	}
}
