package metadata

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/segment"
)

func nodeNo(i byte) segment.ID  { return segment.ID{0xa0, 15: i} }
func startNo(i byte) segment.ID { return segment.ID{0x50, 15: i} }

func started(node, start byte, roles Roles) NodeStarted {
	return NodeStarted{nodeNo(node), Run{Start: startNo(start), MinLevel: 1, MaxLevel: LevelCluster, Roles: roles,
		Listeners: []Listener{{"client", "host", 9000 + uint16(node)}}}}
}

func assign(journal, number uint32, node, home byte) JournalAssigned {
	a := Assignment{Journal: journal, Number: number, Home: nodeNo(home), Why: WhyFirst}
	if node != 0 {
		a.Node = nodeNo(node)
	}
	return JournalAssigned{a}
}

// threeNodes is a cluster whose ingest nodes 1 and 2 have a journal each; 3 is a fetch
// node, and 4 has not started.
func threeNodes(t testing.TB) *State {
	s := NewUpTo(LevelCluster)
	apply(t, s, FeatureLevel{Level: LevelCluster}, JournalCreated{1}, JournalCreated{2})
	for i := range byte(4) {
		apply(t, s, NodeRegistered{nodeNo(i + 1), int32(i) + 1})
	}
	apply(t, s, started(1, 1, RoleIngest), started(2, 2, RoleIngest|RoleFetch), started(3, 3, RoleFetch), assign(1, 1, 1, 1), assign(2, 1, 2, 2))
	return s
}

func TestNodesServeLeaveAndComeBack(t *testing.T) {
	s := threeNodes(t)
	first := s.Cluster()
	if n := first.Node(nodeNo(2)); n.State != StateServing || !n.Serves() || !n.Lives() || n.Run.Start != startNo(2) || n.ID != 2 {
		t.Fatalf("node 2 is %+v", n)
	}
	if n := first.Node(nodeNo(3)); n.Serves() {
		t.Error("a fetch node serves journals")
	}
	if n := first.Node(nodeNo(4)); n.Lives() || n.State != 0 {
		t.Errorf("node 4 is %+v", n)
	}
	apply(t, s, NodeSet{nodeNo(1), StateLeaving}, NodeFenced{nodeNo(1), FencedRefused}, NodeFenced{nodeNo(1), FencedSilent})
	if n := s.Cluster().Node(nodeNo(1)); n.Serves() || n.Lives() || n.Fence != FencedSilent {
		t.Errorf("after it left: %+v", n)
	}
	apply(t, s, started(1, 9, RoleIngest))
	if n := s.Cluster().Node(nodeNo(1)); !n.Serves() || !n.Lives() || n.Run.Start != startNo(9) {
		t.Errorf("after its next start: %+v", n)
	}
	apply(t, s, NodeSet{nodeNo(1), StateDrained}, started(1, 10, RoleIngest))
	if n := s.Cluster().Node(nodeNo(1)); n.State != StateDrained {
		t.Errorf("a start ends the drain: %+v", n)
	}
	if first.Node(nodeNo(1)).State != StateServing || first.Seq != 6 || s.Cluster().Seq != s.Head() {
		t.Error("a snapshot changed, or has another seq")
	}
	if a := s.Cluster().Assignment(1); a.Node != nodeNo(1) || a.Number != 1 || s.Cluster().Assignment(3) != nil || s.Cluster().Assignment(0) != nil {
		t.Errorf("journal 1 is %+v", a)
	}
}

func TestContradictionsOfNodesChangeNothing(t *testing.T) {
	drained := []Change{NodeSet{nodeNo(1), StateDrained}}
	fenced := []Change{NodeFenced{nodeNo(2), FencedSilent}}
	removed := append(drained, assign(1, 2, 2, 2), NodeSet{nodeNo(1), StateRemoved})
	old := started(1, 9, RoleIngest)
	old.MaxLevel = LevelTiering
	for name, c := range map[string]struct {
		before []Change
		bad    Change
	}{
		"start of no node":            {nil, started(9, 9, RoleIngest)},
		"start again":                 {nil, started(1, 1, RoleIngest)},
		"start of a removed node":     {removed, started(1, 9, RoleIngest)},
		"removed node comes back":     {removed, NodeRegistered{nodeNo(1), 5}},
		"id of a removed node":        {removed, NodeRegistered{nodeNo(9), 1}},
		"start below the level":       {nil, old},
		"state again":                 {nil, NodeSet{nodeNo(1), StateServing}},
		"drained one leaves":          {drained, NodeSet{nodeNo(1), StateLeaving}},
		"removed one serves":          {removed, NodeSet{nodeNo(1), StateServing}},
		"drained before its start":    {nil, NodeSet{nodeNo(4), StateDrained}},
		"last one drained":            {drained, NodeSet{nodeNo(2), StateDrained}},
		"last one removed":            {removed, NodeSet{nodeNo(2), StateRemoved}},
		"last one that lives drained": {fenced, NodeSet{nodeNo(1), StateDrained}},
		"last one leaving, drained":   {[]Change{NodeSet{nodeNo(1), StateLeaving}, NodeSet{nodeNo(2), StateLeaving}}, NodeSet{nodeNo(2), StateDrained}},
		"removed with a journal":      {nil, NodeSet{nodeNo(1), StateRemoved}},
		"removed with a home":         {[]Change{assign(1, 2, 2, 1)}, NodeSet{nodeNo(1), StateRemoved}},
		"fence of no node":            {nil, NodeFenced{nodeNo(9), FencedSilent}},
		"fence before its start":      {nil, NodeFenced{nodeNo(4), FencedSilent}},
		"fence again":                 {fenced, NodeFenced{nodeNo(2), FencedSilent}},
		"unfenced, was not":           {nil, NodeFenced{nodeNo(1), NotFenced}},
		"fence of a removed node":     {removed, NodeFenced{nodeNo(1), FencedSilent}},
		"no such journal":             {nil, assign(3, 1, 1, 1)},
		"number again":                {nil, assign(1, 1, 1, 1)},
		"number skipped":              {nil, assign(1, 3, 1, 1)},
		"assigned to no node":         {nil, assign(1, 2, 9, 1)},
		"assigned to a fetch node":    {nil, assign(1, 2, 3, 1)},
		"assigned to a drained one":   {drained, assign(2, 2, 1, 2)},
		"assigned to a leaving one":   {[]Change{NodeSet{nodeNo(1), StateLeaving}}, assign(2, 2, 1, 2)},
		"assigned to a fenced one":    {fenced, assign(1, 2, 2, 1)},
		"home at no node":             {nil, assign(1, 2, 1, 9)},
		"home before its start":       {nil, assign(1, 2, 1, 4)},
		"home at a removed one":       {removed, assign(1, 3, 2, 1)},
	} {
		s := threeNodes(t)
		apply(t, s, c.before...)
		hash := s.hash()
		if err := tryApply(t, s, NoOp{}, c.bad); !errors.Is(err, ErrCorrupt) || s.hash() != hash {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFencedNodeMayBeRemovedWhenAnotherServes(t *testing.T) {
	s := threeNodes(t)
	apply(t, s, NodeFenced{nodeNo(2), FencedSilent}, assign(2, 2, 1, 1), NodeSet{nodeNo(2), StateRemoved})
	if n := s.Cluster().Node(nodeNo(2)); n.State != StateRemoved || n.Run.Start != (segment.ID{}) || n.ID != 2 {
		t.Errorf("%+v", n)
	}
}

// TestEntriesOfAClusterAreOfItsLevel: an older binary may read the journal again.
func TestEntriesOfAClusterAreOfItsLevel(t *testing.T) {
	s := NewUpTo(LevelCluster)
	apply(t, s, FeatureLevel{Level: LevelTiering}, JournalCreated{1}, NodeRegistered{nodeNo(1), 1})
	for _, c := range []Change{
		started(1, 1, RoleIngest), NodeSet{nodeNo(1), StateRemoved}, NodeFenced{nodeNo(1), FencedSilent}, assign(1, 1, 1, 1), NoOp{},
		TopicCreated{ID: topicA, Name: "a", ReplicationFactor: 1, Journals: []uint32{1}, Bases: []int32{1}},
	} {
		if err := tryApply(t, s, c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%T: %v", c, err)
		}
	}
	c := NewController(s, Defaults{})
	if entries, id, err := c.StartNode(nodeNo(2), started(2, 2, RoleIngest).Run); err != nil || id != 2 || len(entries) != 1 || entries[0].Kind != EntryNodeRegistered {
		t.Errorf("a start below the level plans %v, id %d, %v", entries, id, err)
	}
	if _, err := c.SetNode(1, StateDrained); !errors.Is(err, ErrUnknownLevel) {
		t.Errorf("drained below the level: %v", err)
	}
	if b := s.Encode(); b[0] != tieredCheckpoint {
		t.Errorf("checkpoint of version %d", b[0])
	}
	apply(t, s, FeatureLevel{Level: LevelCluster, AtMs: 5}, started(1, 1, RoleIngest))
}

func TestLevelWaitsForEveryNode(t *testing.T) {
	s := threeNodes(t)
	if n := s.img.unready(LevelCluster + 1); n == nil || n.ID != 1 {
		t.Errorf("level %d waits for %+v", LevelCluster+1, n)
	}
	for i := range byte(4) {
		newer := started(i+1, i+20, RoleIngest)
		newer.MaxLevel++
		apply(t, s, newer)
	}
	if n := s.img.unready(LevelCluster + 1); n != nil {
		t.Errorf("it waits for %+v", n)
	}
}

func TestCheckpointOfAClusterIsPinned(t *testing.T) {
	s := NewUpTo(LevelCluster)
	apply(t, s, FeatureLevel{Level: LevelCluster}, JournalCreated{1}, JournalCreated{2}, NodeRegistered{nodeNo(1), 1}, NodeRegistered{nodeNo(2), 2})
	apply(t, s, started(1, 1, RoleIngest), assign(2, 1, 1, 1), NodeFenced{nodeNo(1), FencedSilent},
		TopicCreated{ID: topicA, Name: "a", ReplicationFactor: 1, CreatedMs: 7, Journals: []uint32{2}, Bases: []int32{6}})
	const node1, node2 = "a0000000000000000000000000000001", "a0000000000000000000000000000002"
	want := "03" + "0000000000000002" + "00000001" + "0003" + "0000000000000000" + "0000000000000001" + "00000002" +
		"00000002" + node1 + "00000001" + "01" + "03" +
		"50000000000000000000000000000001" + "0001" + "0003" + "01" + "0000" + "0001" + "0006" + hex.EncodeToString([]byte("client")) + "0004" + "686f7374" + "2329" +
		node2 + "00000002" + "00" + "00" +
		"00000001" + "00000002" + "00000001" + node1 + node1 + "01" + "0000" + "00" +
		"00000001" + "00" + "0000000000000000" + "02" + "7a000000000000000000000000000001" + "0001" + "61" + "0001" + "0000000000000007" + "0000" + "00000001" + "00000002" + "00000006"
	b := s.Encode()
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("compatibility: got\n%s, want\n%s", got, want)
	}
	for i := range b {
		if err := NewUpTo(LevelCluster).Restore(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	for _, version := range []byte{checkpointVersion, tieredCheckpoint} {
		other := bytes.Clone(b)
		other[0] = version
		if err := NewUpTo(LevelCluster).Restore(other); !errors.Is(err, ErrCorrupt) {
			t.Errorf("with version %d: %v", version, err)
		}
	}
}

// TestRandomChangesOfNodes tries changes of all kinds. Those that are taken come back from
// a checkpoint; those that are refused, also at the end of an object, change nothing.
func TestRandomChangesOfNodes(t *testing.T) {
	seeded.Run(t, seeded.Test[struct{}]{Run: randomNodes, Must: []string{"taken", "refused", "removed", "parked"}}, 300, 50)
}

func randomNodes(t *seeded.T, _ struct{}) {
	s := threeNodes(t)
	tryChanges(t, s, 80, func(r *rand.Rand) Change { return randomChange(r, s) }, func() { checkNodes(t, s.Cluster()) })
}

// tryChanges tries changes. check is called after each one that is taken.
func tryChanges(t *seeded.T, s *State, steps int, draw func(*rand.Rand) Change, check func()) {
	t.Steps(steps, func(r *rand.Rand) {
		c := draw(r)
		before := s.hash()
		if err := tryApply(t, s, c, NoOp{}, JournalCreated{9}); err == nil || s.hash() != before {
			t.Fatalf("%+v and a contradiction: %v", c, err)
		}
		if err := tryApply(t, s, c); err != nil {
			if s.hash() != before {
				t.Fatalf("%+v is refused and changes the state: %v", c, err)
			}
			t.Count("refused")
			return
		}
		t.Count("taken")
		restored := NewUpTo(s.Level())
		if err := restored.Restore(s.Encode()); err != nil || restored.hash() != s.hash() {
			t.Fatalf("after %+v: restored: %v", c, err)
		}
		if clone := s.img.clone(); imageBytes(clone) != imageBytes(s.img) {
			t.Fatalf("after %+v: a copy is another one", c)
		}
		check()
	})
}

func randomChange(r *rand.Rand, s *State) Change {
	node := byte(1 + r.IntN(5))
	switch r.IntN(5) {
	case 0:
		return started(node, byte(10+r.IntN(200)), Roles(1+r.IntN(3)))
	case 1:
		return NodeSet{nodeNo(node), NodeState(1 + r.IntN(4))}
	case 2:
		return NodeFenced{nodeNo(node), Fence(r.IntN(4))}
	case 3:
		return NodeRegistered{nodeNo(node), int32(1 + r.IntN(6))}
	}
	j := uint32(1 + r.IntN(2))
	a := assign(j, s.Cluster().Assignment(j).Number+1, byte(r.IntN(5)), byte(1+r.IntN(5)))
	a.Why = Why(1 + r.IntN(int(lastWhy)))
	return a
}

func checkNodes(t *seeded.T, c *Cluster) {
	for i, n := range c.Nodes {
		if n.ID != int32(i)+1 {
			t.Fatalf("node %d is the one at %d", n.ID, i)
		}
		if n.State == StateRemoved {
			t.Count("removed")
		}
	}
	for _, a := range c.Assignments {
		if a.Number > 0 && a.Node.IsZero() {
			t.Count("parked")
		}
		for _, node := range []segment.ID{a.Node, a.Home} {
			if n := c.Node(node); a.Number > 0 && !node.IsZero() && (n == nil || n.State == StateRemoved) {
				t.Fatalf("journal %d is assigned to a node that is not there: %+v", a.Journal, a)
			}
		}
	}
}
