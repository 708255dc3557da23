package node

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/metadata/membership/drive"
	"github.com/varvelog/varve/metadata/peer"
	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// calm is the Env of a controller whose journals are well. It has a network and a bucket.
type calm struct {
	drive.Network
	drive.Bucket
	driver *drive.Driver
	harmed atomic.Int32 // it ends, or gives journal 0 up
}

func (*calm) Now() time.Time                          { return time.Now() }
func (*calm) Refused(error)                           {}
func (c *calm) Exit(error)                            { c.harmed.Add(1) }
func (*calm) Reports() []membership.Report            { return nil }
func (c *calm) Prove(id uint32)                       { c.driver.Proved(time.Now(), id) }
func (*calm) Poke()                                   {}
func (c *calm) Stand()                                { c.harmed.Add(1) }
func (c *calm) Resign()                               { c.harmed.Add(1) }
func (c *calm) Yield(segment.ID)                      { c.harmed.Add(1) }
func (*calm) Plan(_ []metadata.Change, _ func(error)) {}
func (*calm) StartNode(_ segment.ID, _ metadata.Run, done func(drive.Registered)) {
	done(drive.Registered{ID: 2})
}

// garbage changes a body in one of several ways.
func garbage(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	switch rng.IntN(4) {
	case 0:
		return b[:rng.IntN(len(b)+1)]
	case 1:
		return append(b, randomBytes(rng.IntN(200))...)
	case 2:
		return randomBytes(rng.IntN(300))
	}
	for range 1 + rng.IntN(4) {
		if len(b) > 0 {
			b[rng.IntN(len(b))] = []byte{0, 1, 0x7f, 0xff, byte(rng.Uint32())}[rng.IntN(5)]
		}
	}
	return b
}

// A node of the cluster that sends garbage harms itself at most: the controller stays, believes
// nothing, and answers others.
func TestGarbageOfANodeHarmsNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(seeded.Seed(t), 0))
	store := mem.New(time.Now, nil)
	hostile, good := newMember(t, store, theCluster, identity(1, 1), true), newMember(t, store, theCluster, identity(3, 3), true)
	m := newMember(t, store, theCluster, identity(2, 2), true)
	m.serve("") // for the address alone: calls are answered by the driver below
	hostile.serve("")
	env := &calm{}
	loop := drive.NewLoop()
	driver := drive.New(drive.Options{Node: m.self.Node, Run: m.run()}, env)
	env.driver, m.peers.opt.Loop = driver, loop
	env.Network, env.Bucket = m.peers, newProbes(store, unread, loop)
	t.Cleanup(env.Bucket.(*probes).Close)
	loop.Start(driver)
	t.Cleanup(loop.Close)
	m.answers.Cluster, m.answers.relays = &clusterRequests{loop: loop, driver: driver, handOver: m.answers.HandOver}, true
	c := &metadata.Cluster{Seq: 9, Level: metadata.LevelCluster, Assignments: []metadata.Assignment{{Journal: 1}, {Journal: 2}}}
	for i, n := range []*member1{hostile, m, good} {
		run := m.run()
		run.Start = n.self.Start
		c.Nodes = append(c.Nodes, metadata.Node{Node: n.self.Node, ID: int32(i) + 1, State: metadata.StateServing, Run: run})
	}
	leads := membership.Leader{Node: m.self.Node, Epoch: 1, Settled: segment.Ref{Seq: 4, Object: segment.ID{4}}}
	if err := loop.Do(t.Context(), func() { driver.Begin(c); driver.Led(leads); driver.Ready() }); err != nil {
		t.Fatal(err)
	}
	bodies := hostileBodies(t, hostile)
	for range 500 {
		kind := peer.Kind(30003 + rng.IntN(4))
		hostile.called(m.self.Node, m.run(), drive.Request{Kind: kind, Body: garbage(rng, bodies[kind])}, peerLimit)
	}
	if r := good.called(m.self.Node, m.run(), beat(), peerLimit); r.Outcome != membership.Proved || r.Err != nil {
		t.Errorf("a heartbeat of another node: %+v", r)
	}
	for id, want := range map[uint32]segment.ID{0: m.self.Node, 1: {}, 2: {}} {
		if got := asked(t, loop, func(done func(membership.Known)) { done(driver.Leader(id)) }); got.Node != want {
			t.Errorf("the leader of journal %d is %+v", id, got)
		}
	}
	if n := env.harmed.Load(); n > 0 {
		t.Errorf("it has given up, %d times", n)
	}
}

// hostileBodies are good bodies, with claims that are false.
func hostileBodies(t *testing.T, from *member1) map[peer.Kind][]byte {
	t.Helper()
	register, err := membership.AppendRegister(nil, from.self.Node, from.run())
	if err != nil {
		t.Fatal(err)
	}
	claim := membership.Leader{Journal: 1, Node: from.self.Node, Epoch: 7, Settled: segment.Ref{Seq: 44, Object: segment.ID{7}}, Head: 50}
	zero := claim
	zero.Journal = 0
	h := membership.Heartbeat{Applied: 9, Journals: []membership.Report{{Leader: claim, Leads: true}, {Leader: zero, Leads: true}, {Leader: membership.Leader{Journal: 2}, Taking: 5, Blocked: true}}}
	return map[peer.Kind][]byte{
		peer.KindRegister: register, peer.KindHeartbeat: h.Append(nil), peer.KindQuestion: membership.AppendQuestion(nil, zero), peer.KindProbe: {},
	}
}
