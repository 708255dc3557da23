package steer

import (
	"slices"
	"testing"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

func TestOnlyClientsThatComeBackAreSentAway(t *testing.T) {
	for _, c := range []struct {
		software, version string
		want              bool
	}{
		{"apache-kafka-java", "3.9.0", true},
		{"apache-kafka-java", "3.8.1", false},
		{"apache-kafka-java", "4.2.0-SNAPSHOT", true},
		{"apache-kafka-java", "10.0", true},
		{"apache-kafka-java", "2.8.1", false},
		{"librdkafka", "2.15.0", false},
		{"librdkafka", "2.15.0-RC1", false},
		{"librdkafka", "2.0.2", false},
		{"librdkafka", "1.99.0", false},
		{"confluent-kafka-python", "2.16.1-rdkafka-2.16.0", false},
		{"confluent-kafka-python", "2.6.1-rdkafka-2.6.1", false},
		{"confluent-kafka-python", "2.15.1", false},
		{"kgo", "v1.22.2", false},
		{"kgo", "1.22.2", false},
		{"sarama", "1.61.1", false},
		{"", "", false},
		{"apache-kafka-java", "", false},
		{"apache-kafka-java", "unknown", false},
		{"apache-kafka-java", "3.x", false},
		{"apache-kafka-java", "-4.9", false},
		{"librdkafka", "99999999999999999999.1", false},
	} {
		if got := Returns(c.software, c.version); got != c.want {
			t.Errorf("%s %s: %v", c.software, c.version, got)
		}
	}
	for _, f := range families {
		if f.why == "" || f.from == (version{}) {
			t.Errorf("%s has no reason or no version", f.software)
		}
	}
}

func TestWhichReadsLeaveTheLeader(t *testing.T) {
	racks := func(racks ...string) (all []Node) {
		for i, rack := range racks {
			all = append(all, Node{ID: int32(i) + 10, Rack: rack})
		}
		return all
	}
	for name, c := range map[string]struct {
		readers []Node
		rack    string
		tail    bool
		want    []int32 // one of them
	}{
		"history, no fetch nodes":                  {nil, "b", false, []int32{0}},
		"history, the client's rack":               {racks("a", "b", "c", "b"), "b", false, []int32{11, 13}},
		"history, a rack without fetch nodes":      {racks("b", "c"), "d", false, []int32{10, 11}},
		"history, no rack":                         {racks("", "c"), "", false, []int32{10, 11}},
		"history, the leader's rack has none":      {racks("b"), "a", false, []int32{10}},
		"tail, the leader's rack":                  {racks("a", "b"), "a", true, []int32{0}},
		"tail, another rack":                       {racks("a", "b"), "b", true, []int32{11}},
		"tail, a rack without fetch nodes":         {racks("a", "b"), "c", true, []int32{0}},
		"tail, no rack":                            {racks("", "b"), "", true, []int32{0}},
		"tail, no fetch nodes":                     {nil, "b", true, []int32{0}},
		"history, no rack, and there are no nodes": {nil, "", false, []int32{0}},
	} {
		n := Nodes{Self: Node{ID: 1, Rack: "a"}, Readers: c.readers}
		for index := range int32(20) {
			r := Read{Key: partlog.Key{Topic: segment.ID{1}, Index: index}, Tail: c.tail, Rack: c.rack}
			if got := n.FromLeader(r); !slices.Contains(c.want, got) {
				t.Errorf("%s: to %d, want one of %v", name, got, c.want)
			}
		}
	}
}

// The pieces of all partitions are shared by halves and more, in any order of the nodes, and
// when one dies the others keep theirs.
func TestFetchNodesShareTheWork(t *testing.T) {
	nodes := []Node{{ID: 3}, {ID: 4}, {ID: 5}, {ID: 900}}
	owner := func(nodes []Node, i int) int32 {
		return choose(nodes, Read{Key: partlog.Key{Topic: segment.ID{9, 15: byte(i)}, Index: int32(i / 7)}, Offset: int64(i%7) << pieceBits})
	}
	const pieces = 4000
	count := map[int32]int{}
	for i := range pieces {
		id := owner(nodes, i)
		count[id]++
		turned := slices.Clone(nodes)
		slices.Reverse(turned)
		if other := owner(turned, i); other != id {
			t.Fatalf("piece %d: %d, and %d in another order", i, id, other)
		}
		if left := owner(nodes[1:], i); id != nodes[0].ID && left != id {
			t.Fatalf("piece %d moves from %d to %d though another node died", i, id, left)
		}
	}
	for _, x := range nodes {
		if n := count[x.ID]; n < pieces/8 || n > pieces/2 {
			t.Errorf("node %d has %d of %d pieces", x.ID, n, pieces)
		}
	}
	// All offsets of a piece have one node.
	first := Read{Offset: 5 << pieceBits}
	last := Read{Offset: 6<<pieceBits - 1}
	if choose(nodes, first) != choose(nodes, last) {
		t.Error("a piece has two nodes")
	}
}
