package node

import (
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/kafka"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// believed is the leaders of a node in a cluster, by journal.
type believed map[uint32]membership.Known

func (b believed) Leader(journal uint32) membership.Known { return b[journal] }

// clusterNode is a node whose metadata name it as node 1 of three; nodes 2 and 3 are
// nodeNo(2) and nodeNo(3), and the third one only fetches.
func clusterNode(t *testing.T, roles ...config.Role) *testNode {
	n, closeAll := newNode(t, mem.New(nil, nil))
	t.Cleanup(closeAll)
	n.cfg.Roles, n.cfg.Rack = roles, "r1"
	n.id.Store(1)
	n.meta = metadata.NewUpTo(metadata.LevelCluster)
	changes := []metadata.Change{metadata.FeatureLevel{Level: metadata.LevelCluster}, metadata.JournalCreated{ID: 1}, metadata.JournalCreated{ID: 2}}
	for i, node := range []segment.ID{n.dir.Node(), nodeNo(2), nodeNo(3)} {
		run := metadata.Run{
			Start: segment.ID{9, byte(i)}, MinLevel: 1, MaxLevel: metadata.LevelCluster, Roles: metadata.RoleIngest, Rack: "r2",
			Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "host", Port: uint16(9000 + i)}},
		}
		if i == 2 {
			run.Roles = metadata.RoleFetch
		}
		changes = append(changes, metadata.NodeRegistered{Node: node, ID: int32(i) + 1}, metadata.NodeStarted{Node: node, Run: run})
	}
	changes = append(changes, metadata.TopicCreated{
		ID: segment.ID{7}, Name: "t", ReplicationFactor: 1, CreatedMs: 1, Journals: []uint32{1, 2}, Bases: []int32{0, 100},
	})
	n.commit(t, changes...)
	return n
}

func nodeNo(b byte) segment.ID { return segment.ID{0xee, b} }

// commit applies an object of journal 0 with changes.
func (n *testNode) commit(t *testing.T, changes ...metadata.Change) {
	t.Helper()
	var entries []segment.Entry
	for _, c := range changes {
		e, err := metadata.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	f := &segment.Footer{Header: segment.Header{Kind: segment.KindData, Seq: n.meta.Head() + 1, Epoch: 1}}
	if err := n.meta.Apply(f, entries); err != nil {
		t.Fatal(err)
	}
}

func TestAPartitionIsPlacedAtTheLeaderOfItsJournal(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	topic := n.meta.Topics()[0]
	for name, tc := range map[string]struct {
		known     membership.Known
		partition int32
		leader    int32
		epoch     int32
	}{
		"led elsewhere":                {membership.Known{Node: nodeNo(2), Epoch: 5}, 0, 2, 5},
		"with an epoch base":           {membership.Known{Node: nodeNo(2), Epoch: 5}, 1, 2, 105},
		"no leader":                    {membership.Known{Epoch: 6}, 1, -1, 106},
		"nothing known":                {membership.Known{}, 1, -1, -1},
		"led by a node that is new":    {membership.Known{Node: nodeNo(9), Epoch: 6}, 0, -1, 6},
		"led here, and not opened yet": {membership.Known{Node: n.dir.Node(), Epoch: 6}, 0, -1, 6},
	} {
		n.leaders = believed{topic.Partitions[tc.partition].Journal: tc.known}
		p := n.placement(topic, tc.partition)
		if p.Leader != tc.leader || p.Epoch != tc.epoch || (len(p.Replicas) == 0) != (tc.leader < 0) {
			t.Errorf("%s: placed at %+v", name, p)
		}
	}
}

func TestAClusterListsItsNodes(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	n.listeners = []clientListener{{name: "PLAINTEXT", shown: kafka.Address{Host: "self", Port: 1}}}
	n.commit(t, metadata.NodeFenced{Node: nodeNo(2), Fence: metadata.FencedRefused}, metadata.NodeFenced{Node: n.dir.Node(), Fence: metadata.FencedSilent})
	byID := map[int32]kafka.Broker{}
	for _, b := range n.brokers() {
		byID[b.ID] = b
	}
	if len(byID) != 3 || !byID[2].Fenced || byID[3].Fenced || byID[3].Addresses["PLAINTEXT"] != (kafka.Address{Host: "host", Port: 9002}) || byID[3].Rack != "r2" {
		t.Errorf("brokers %+v", byID)
	}
	if self := byID[1]; self.Fenced || self.Addresses["PLAINTEXT"].Host != "self" || self.Rack != "r1" {
		t.Errorf("the node that answers: %+v", self)
	}
}

// An answer waits for the next leader of a journal. One that has had none for long holds up
// no answer.
func TestAJournalWithoutALeaderIsAwaitedForAWhile(t *testing.T) {
	var l leaderless
	now := time.Unix(1000, 0)
	for i, step := range []struct {
		after   time.Duration
		led     bool
		awaited bool
	}{
		{0, true, false}, {time.Hour, false, true}, {leaderWait - 1, false, true}, {1, false, false}, {time.Hour, false, false},
		{0, true, false}, {time.Hour, false, true},
	} {
		now = now.Add(step.after)
		if got := l.notes(now, 1, step.led); got != step.awaited {
			t.Errorf("step %d: awaited %v", i, got)
		}
	}
	n := clusterNode(t, config.RoleIngest)
	var asked int
	n.leaders = leadersBy(func(journal uint32) membership.Known {
		if asked++; asked < 3 {
			return membership.Known{Epoch: 5}
		}
		return membership.Known{Node: nodeNo(2), Epoch: 6}
	})
	n.awaitLeaders(t.Context(), []uint32{1})
	if asked != 3 {
		t.Errorf("asked %d times for a leader that is known after 3", asked)
	}
}

// The answer where a group's coordinator is waits as well: the clients of the group are sent
// away from a leader that hands over all at once, and ask then.
func TestACoordinatorIsAwaited(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	var asked int
	n.leaders = leadersBy(func(journal uint32) membership.Known {
		if asked++; journal != 2 || asked < 3 {
			return membership.Known{Epoch: 5}
		}
		return membership.Known{Node: nodeNo(2), Epoch: 6}
	})
	topic, _ := n.meta.Topic("t")
	if id := n.coordinatorOf(t.Context(), topic, 1); id != 2 {
		t.Errorf("the coordinator is %d after %d looks, want 2", id, asked)
	}
}

// leadersBy is a function as the leaders of a node.
type leadersBy func(journal uint32) membership.Known

func (f leadersBy) Leader(journal uint32) membership.Known { return f(journal) }

// Each node that writes forwards to the controller, one that only reads names another one.
func TestClientsFindANodeThatForwardsToTheController(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	n.leaders = believed{0: {Node: nodeNo(2), Epoch: 5}}
	if id := n.shownController(); id != 1 {
		t.Errorf("a node that writes names %d", id)
	}
	n = clusterNode(t, config.RoleFetch)
	n.leaders = believed{0: {Node: nodeNo(2), Epoch: 5}}
	if id := n.shownController(); id != 2 {
		t.Errorf("a node that reads names %d", id)
	}
	n.commit(t, metadata.NodeFenced{Node: nodeNo(2), Fence: metadata.FencedRefused})
	if id := n.shownController(); id != 1 {
		t.Errorf("without the controller it names %d", id)
	}
	n.commit(t, metadata.NodeFenced{Node: n.dir.Node(), Fence: metadata.FencedRefused})
	if id := n.shownController(); id != -1 {
		t.Errorf("without any it names %d", id)
	}
}
