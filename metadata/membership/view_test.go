package membership

import (
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/segment"
)

func claim(node byte, epoch uint32) Leader {
	return Leader{Journal: 1, Node: nodeNo(node), Epoch: epoch, Settled: segment.Ref{Seq: uint64(epoch) * 10, Object: segment.ID{byte(epoch)}}}
}

func TestClaimsCountOnceTheyAreChecked(t *testing.T) {
	v, now := NewView(nodeNo(1)), time.Unix(1000, 0)
	v.Applied(clusterOf(3))
	wants := func(node byte, epoch uint32) {
		t.Helper()
		want := Known{Epoch: epoch}
		if node > 0 {
			want.Node = nodeNo(node)
		}
		if got := v.Leader(now, 1); got != want {
			t.Errorf("answers %+v, want %+v", got, want)
		}
	}
	wants(0, 0)
	if a := v.Claimed(now, FromNode, claim(2, 5)); len(a) != 1 || a[0] != (Check{claim(2, 5)}) {
		t.Fatalf("a claim asks for %v", a)
	}
	wants(0, 0)
	if a := v.Claimed(now, FromNode, claim(3, 6)); a != nil {
		t.Fatalf("a second claim asks for %v while the first is checked", a)
	}
	believed, next := v.Checked(claim(2, 5), true)
	if !believed || len(next) != 1 || next[0] != (Check{claim(3, 6)}) {
		t.Fatalf("checked: %v, %v", believed, next)
	}
	wants(2, 5)
	if believed, _ := v.Checked(claim(3, 6), false); believed {
		t.Error("a false claim is believed")
	}
	wants(2, 5)
	if a := v.Claimed(now, FromNode, claim(3, 4)); a != nil {
		t.Errorf("a claim of long ago asks for %v", a)
	}
	v.Read(1, 6)
	wants(0, 6)
	if believed, _ := v.Checked(claim(2, 5), true); believed {
		t.Error("a leader below an epoch that was read is believed")
	}
	v.Claimed(now, FromNode, claim(3, 6))
	v.Checked(claim(3, 6), true)
	wants(3, 6)
	c := clusterOf(3)
	c.Nodes[2].Fence = metadata.FencedSilent
	v.Applied(c)
	wants(0, 6)
	v.Applied(clusterOf(3))
	wants(3, 6)
	v.Ended(1, 6)
	wants(0, 6)
	for name, l := range map[string]Leader{"no filler": {Journal: 1, Node: nodeNo(2), Epoch: 9}, "no node": {Journal: 1, Epoch: 9, Settled: segment.Ref{Seq: 1}}, "itself": claim(1, 9)} {
		if a := v.Claimed(now, FromNode, l); a != nil {
			t.Errorf("a claim with %s asks for %v", name, a)
		}
	}
}

func TestForgedAnnouncementsDoNotHoldBackClaimsOfNodes(t *testing.T) {
	v, now := NewView(nodeNo(1)), time.Unix(1000, 0)
	v.Applied(clusterOf(3))
	v.Claimed(now, FromAnnouncement, claim(3, 100))
	v.Claimed(now, FromAnnouncement, claim(3, 101))
	v.Claimed(now, FromNode, claim(2, 5))
	v.Claimed(now, FromAnnouncement, claim(3, 102))
	_, next := v.Checked(claim(3, 100), false)
	if len(next) != 1 || next[0] != (Check{claim(2, 5)}) {
		t.Fatalf("checks %v next", next)
	}
	believed, next := v.Checked(claim(2, 5), true)
	if !believed || len(next) != 1 || next[0] != (Check{claim(3, 102)}) {
		t.Errorf("believed %v, checks %v next", believed, next)
	}
}

func TestLeaderProvesItselfAfterAWhile(t *testing.T) {
	v, now := NewView(nodeNo(1)), time.Unix(1000, 0)
	v.Applied(clusterOf(2))
	v.Leads(now, claim(1, 3))
	if k := v.Leader(now.Add(4*time.Second), 1); k.Prove || k.Node != nodeNo(1) {
		t.Errorf("soon after it led: %+v", k)
	}
	if k := v.Leader(now.Add(5*time.Second), 1); !k.Prove || k.Node != nodeNo(1) {
		t.Errorf("later: %+v", k)
	}
	v.Proved(now.Add(5*time.Second), 1)
	if k := v.Leader(now.Add(9*time.Second), 1); k.Prove {
		t.Errorf("after a proof: %+v", k)
	}
	if all := v.Leaders(); len(all) != 1 || all[0] != claim(1, 3) {
		t.Errorf("leaders %v", all)
	}
	v.Read(1, 4)
	if k := v.Leader(now, 1); !k.Node.IsZero() || k.Epoch != 4 || len(v.Leaders()) != 0 {
		t.Errorf("after a higher epoch: %+v", k)
	}
	v.Leads(now, claim(1, 3))
	if k := v.Leader(now, 1); !k.Node.IsZero() {
		t.Errorf("it leads an epoch that is over: %+v", k)
	}
}

func TestWhoMayTakeAJournal(t *testing.T) {
	base := Taking{Self: nodeNo(1), Cluster: clusterOf(3, 1), Journal: 1, Last: nodeNo(2), Proved: true}
	fenced, blocked := clusterOf(3, 1), clusterOf(3, 1)
	fenced.Nodes[1].Fence = metadata.FencedSilent
	blocked.Assignments[0].Why = metadata.WhyBlocked
	for name, c := range map[string]struct {
		change func(*Taking)
		want   bool
	}{
		"the leader lives":        {func(*Taking) {}, false},
		"it is silent":            {func(t *Taking) { t.Silent = time.Second }, false},
		"and fails a handshake":   {func(t *Taking) { t.Silent, t.Handshake = time.Second, TimedOut }, true},
		"it fails one too soon":   {func(t *Taking) { t.Handshake = TimedOut }, false},
		"it refuses":              {func(t *Taking) { t.Handshake = Refused }, true},
		"another one answers":     {func(t *Taking) { t.Handshake = Replaced }, true},
		"it answers":              {func(t *Taking) { t.Silent, t.Handshake = time.Minute, Proved }, false},
		"it denies that it leads": {func(t *Taking) { t.Denied = true }, true},
		"it has ended":            {func(t *Taking) { t.EndedFor = nodeNo(1) }, true},
		"it is fenced":            {func(t *Taking) { t.Cluster = fenced }, true},
		"it is blocked":           {func(t *Taking) { t.Cluster = blocked }, true},
		"no fence at all":         {func(t *Taking) { t.Last = segment.ID{} }, true},
		"its own fence":           {func(t *Taking) { t.Last = nodeNo(1) }, true},
		"a node that is unknown":  {func(t *Taking) { t.Last = nodeNo(9) }, true},
		"without a proof":         {func(t *Taking) { t.Denied, t.Proved = true, false }, false},
		"without a store":         {func(t *Taking) { t.Denied, t.StoreFails = true, true }, false},
		"assigned to another":     {func(t *Taking) { t.Denied, t.Self = true, nodeNo(3) }, false},
		"no such journal":         {func(t *Taking) { t.Denied, t.Journal = true, 5 }, false},
	} {
		taking := base
		c.change(&taking)
		if got := taking.MayFence(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	c := clusterOf(3, 1)
	if !HandsOver(c, nodeNo(2), 1, 1, nodeNo(1)) || HandsOver(c, nodeNo(2), 1, 2, nodeNo(1)) || HandsOver(c, nodeNo(2), 1, 1, nodeNo(3)) || HandsOver(c, nodeNo(1), 1, 1, nodeNo(1)) {
		t.Error("a journal is handed over by another assignment than that of the state")
	}
}
