package node

import (
	"context"
	"sync"
	"testing"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/tiering/segment"
)

// The end of a process is noticed at once, and so is the next one at its address. A node that
// leads nothing any more is let alone.
func TestANodeThatLeadsIsWatched(t *testing.T) {
	one, other := two(t)
	run := anyStart(other.run())
	id := other.self.Node
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{ctx: ctx, work: &work, dial: func(ctx context.Context, node segment.ID) (*peer.Conn, error) {
		c, _, err := one.peers.dial(ctx, node, run)
		return c, err
	}}
	defer func() { cancel(); work.Wait() }()
	accepted := func(m *member1, n int32) {
		t.Helper()
		until(t, "a connection", func() bool { return m.accepted.Load() == n })
	}
	w.follow(map[segment.ID]bool{id: true})
	accepted(other, 1)
	w.follow(map[segment.ID]bool{id: true})
	if w.lost(id) || w.lost(segment.ID{7}) {
		t.Error("a node that answers, or one that leads nothing, is lost")
	}
	other.stop()
	until(t, "the end is noticed", func() bool { return w.lost(id) })
	again := newMember(t, one.peers.opt.Store, theCluster, other.self, true)
	again.serve(other.addr.String())
	until(t, "it is there again", func() bool { return !w.lost(id) })
	w.follow(nil)
	work.Wait()
	again.stop()
	if w.lost(id) {
		t.Error("a node that leads nothing is watched")
	}
}

// The leader of a journal has died, and journal 0 does not say so yet: the answer waits.
func TestAnAnswerWaitsWhileTheLeaderMayHaveDied(t *testing.T) {
	n := clusterNode(t, config.RoleIngest)
	n.member = n.newMember()
	defer n.member.cancel()
	x := &watched{}
	n.member.watching.nodes = map[segment.ID]*watched{nodeNo(2): x}
	x.lost.Store(true)
	asked := 0
	n.leaders = leadersBy(func(uint32) membership.Known {
		if asked++; asked < 3 {
			return membership.Known{Node: nodeNo(2), Epoch: 5}
		}
		return membership.Known{Node: nodeNo(3), Epoch: 6}
	})
	n.awaitLeaders(t.Context(), []uint32{1})
	if asked != 3 {
		t.Errorf("asked %d times for a leader that is known after 3", asked)
	}
	if _, err := n.member.dialLeader(t.Context(), nodeNo(9)); err == nil {
		t.Error("a node that journal 0 does not name is dialed")
	}
}
