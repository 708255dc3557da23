package metadata

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/segment"
)

func TestStartsAreRegisteredOnce(t *testing.T) {
	c, s := newClusterUpTo(t, LevelCluster)
	run := started(1, 1, RoleIngest).Run
	entries, id, err := c.StartNode(nodeNo(1), run)
	if err != nil || id != 1 || len(entries) != 2 {
		t.Fatalf("%d entries, node %d, %v", len(entries), id, err)
	}
	commit(t, s, entries)
	if n := s.Cluster().Node(nodeNo(1)); !n.Serves() || n.Run.Start != run.Start {
		t.Errorf("%+v", n)
	}
	if entries, id, err := c.StartNode(nodeNo(1), run); err != nil || id != 1 || len(entries) != 0 {
		t.Errorf("again: %d entries, node %d, %v", len(entries), id, err)
	}
	old := started(2, 2, RoleIngest).Run
	old.MaxLevel = LevelTiering
	before := imageBytes(c.img)
	if _, _, err := c.StartNode(nodeNo(2), old); !errors.Is(err, ErrUnknownLevel) || imageBytes(c.img) != before {
		t.Errorf("below the level: %v", err)
	}
	if _, _, err := c.StartNode(nodeNo(2), Run{Start: startNo(2), MinLevel: 1, MaxLevel: 9, Roles: RoleIngest}); err == nil || imageBytes(c.img) != before {
		t.Errorf("without a listener: %v", err)
	}
}

func TestNodesAreDrainedAndRemovedInOrder(t *testing.T) {
	s := threeNodes(t)
	c := NewController(s, Defaults{})
	set := func(id int32, state NodeState, want error) {
		t.Helper()
		entries, err := c.SetNode(id, state)
		if !errors.Is(err, want) {
			t.Fatalf("node %d becomes %v: %v, want %v", id, state, err, want)
		}
		if err == nil && len(entries) > 0 {
			commit(t, s, entries)
		}
	}
	set(9, StateDrained, ErrUnknownNode)
	set(4, StateDrained, ErrUnknownNode)
	set(1, StateRemoved, ErrNodeInUse)
	set(1, StateDrained, nil)
	set(1, StateDrained, nil)
	set(1, StateLeaving, nil)
	set(2, StateDrained, ErrLastServing)
	set(2, StateRemoved, ErrLastServing)
	set(1, StateRemoved, ErrNodeInUse)
	if _, err := c.SetNode(1, StateRemoved); !strings.Contains(err.Error(), "still has journal 1") {
		t.Errorf("the error does not name the journal: %v", err)
	}
	moved := assign(1, 2, 2, 1)
	entries, err := c.Change(moved)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, entries)
	set(1, StateRemoved, nil)
	if a := s.Cluster().Assignment(1); a.Home != nodeNo(2) || a.Node != nodeNo(2) || a.Number != 3 || a.Why != WhyHomeRemoved {
		t.Errorf("after the removal of its home: %+v", a)
	}
	set(1, StateServing, ErrRemovedNode)
	if _, _, err := c.StartNode(nodeNo(1), started(1, 8, RoleIngest).Run); !errors.Is(err, ErrRemovedNode) {
		t.Errorf("a removed node starts: %v", err)
	}
	set(3, StateDrained, nil)
	set(3, StateServing, nil)
	set(4, StateRemoved, nil)
	set(2, StateLeaving, nil)
	set(2, StateServing, nil)
	if got, want := imageBytes(c.img), imageBytes(s.img); got != want {
		t.Error("planned something else than it committed")
	}
}

func TestParkedJournalGetsAnotherHome(t *testing.T) {
	s := threeNodes(t)
	apply(t, s, assign(1, 2, 0, 1), NodeSet{nodeNo(1), StateDrained})
	c := NewController(s, Defaults{})
	entries, err := c.SetNode(1, StateRemoved)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, entries)
	if a := s.Cluster().Assignment(1); a.Home != nodeNo(2) || !a.Node.IsZero() {
		t.Errorf("%+v", a)
	}
}

func TestChangesArePlannedWhollyOrNotAtAll(t *testing.T) {
	s := threeNodes(t)
	c := NewController(s, Defaults{})
	before := imageBytes(c.img)
	for _, bad := range []Change{assign(1, 2, 9, 1), NodeFenced{segment.ID{}, FencedSilent}} {
		if entries, err := c.Change(NodeFenced{nodeNo(2), FencedSilent}, bad); err == nil || entries != nil || imageBytes(c.img) != before {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestClusterGrowsToMoreJournals(t *testing.T) {
	s := NewUpTo(LevelCluster)
	c := NewController(s, Defaults{Journals: 3})
	entries, err := c.Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, entries)
	if n := len(s.Journals()); n != 3 {
		t.Errorf("a new cluster has %d journals, want 3", n)
	}
	entries, err = c.GrowTo(5)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, entries)
	if n := len(s.Journals()); n != 5 {
		t.Errorf("it grew to %d", n)
	}
	if entries, err := c.GrowTo(5); err != nil || len(entries) != 0 {
		t.Errorf("to as many: %v, %v", entries, err)
	}
	if _, err := c.GrowTo(4); !errors.Is(err, ErrFewerJournals) {
		t.Errorf("it shrinks: %v", err)
	}
	below, _ := newClusterUpTo(t, LevelTiering)
	if _, err := below.GrowTo(5); !errors.Is(err, ErrUnknownLevel) || !strings.Contains(err.Error(), "varve cluster upgrade") {
		t.Errorf("below the level: %v", err)
	}
	if _, err := c.GrowTo(MaxJournals + 1); !errors.Is(err, ErrTooManyJournals) {
		t.Error(err)
	}
}

// TestNoOrderOfCommandsLeavesNoNodeThatServes tries all orders of four commands for three
// nodes, of which each may be dead.
func TestNoOrderOfCommandsLeavesNoNodeThatServes(t *testing.T) {
	s := NewUpTo(LevelCluster)
	apply(t, s, FeatureLevel{Level: LevelCluster}, JournalCreated{1})
	for i := range byte(3) {
		apply(t, s, NodeRegistered{nodeNo(i + 1), int32(i) + 1}, started(i+1, i+1, RoleIngest))
	}
	commands := []func(c *Controller, id byte){
		func(c *Controller, id byte) { _, _ = c.SetNode(int32(id), StateDrained) },
		func(c *Controller, id byte) { _, _ = c.SetNode(int32(id), StateServing) },
		func(c *Controller, id byte) { _, _ = c.SetNode(int32(id), StateRemoved) },
		func(c *Controller, id byte) { _, _ = c.Change(NodeFenced{nodeNo(id), FencedSilent}) },
	}
	tried := 0
	var try func(img *image, left int)
	try = func(img *image, left int) {
		tried++
		serves, both := 0, 0
		for _, n := range img.nodes {
			if n.Serves() {
				serves++
			}
			if n.Lives() && n.Serves() {
				both++
			}
		}
		if serves == 0 {
			t.Fatalf("no node serves: %+v", img.nodeList())
		}
		for id := byte(1); left > 0 && id <= 3; id++ {
			for i, command := range commands {
				c := &Controller{img: img.clone()}
				if command(c, id); i < 3 && both > 0 && !slices.ContainsFunc(c.img.nodeList(), func(n Node) bool { return n.Lives() && n.Serves() }) {
					t.Fatalf("a command for node %d takes the last one that serves and lives: %+v", id, c.img.nodeList())
				}
				try(c.img, left-1)
			}
		}
	}
	try(s.img, 4)
	t.Logf("%d states", tried)
}

func TestAnErrorNamesSomeJournals(t *testing.T) {
	var ids []uint32
	for id := range uint32(maxListed + 2) {
		ids = append(ids, id+1)
	}
	if got := listJournals(ids[:2]); got != "2 journals: 1, 2" {
		t.Error(got)
	}
	if got := listJournals(ids); !strings.HasPrefix(got, "22 journals: 1, 2, ") || !strings.HasSuffix(got, " 20, ...") {
		t.Error(got)
	}
}
