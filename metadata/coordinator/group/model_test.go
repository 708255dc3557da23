package group

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
	"github.com/varvelog/varve/testenv/seeded"
)

// TestModel has clients, good and bad, do things at random to a few groups while
// appends are committed late, in doubt or lost, time passes, and leadership moves.
func TestModel(t *testing.T) { seeded.Run(t, seeded.Test[struct{}]{Run: runModel}, 60, 60) }

// model is a world with clients.
type model struct {
	*world
	rng     *rand.Rand // of the step
	clients []*modelClient
	leads   int // leaderships so far
	calls   []*modelCall
	leader  map[generation]string // its leader, by the answers
	acked   map[string]int64      // the highest offset a commit of which was answered, by group
	sent    int64                 // the last offset that a client tried to commit
	doubted map[string]bool       // groups whose records may be in doubt
	outage  int                   // steps for which all appends are in doubt
}

// generation is one of a group while it was alive: a group that was forgotten
// begins to count again.
type generation struct {
	group *live
	n     int32
}

// modelCall is a request that must be answered once.
type modelCall struct {
	what    string
	lead    int
	answers int
}

// modelClient is a client that mostly does as clients do.
type modelClient struct {
	group    string
	instance *string
	protocol []Protocol
	now      JoinAnswer // of the generation it is in; Member may be set before
	joining  bool
	syncing  bool
	member   bool // it has its assignment
	run      int  // answers to requests of before a restart are lost
}

func runModel(t *seeded.T, _ struct{}) {
	rng := t.Rand
	m := &model{
		world: newWorld(t, func(c *Config) {
			c.MaxSize = []int{0, 3}[rng.IntN(2)]
			c.InitialDelay = []time.Duration{0, 3 * time.Second}[rng.IntN(2)]
		}),
		leader: map[generation]string{}, acked: map[string]int64{}, doubted: map[string]bool{},
	}
	m.auto = false
	m.erased = func(group string) { m.acked[group] = 0 }
	for i := range 8 {
		c := &modelClient{group: fmt.Sprint("g", i%3)}
		if i%4 == 3 {
			c.instance = ptr(fmt.Sprint("i", i%3))
		}
		c.protocol = []Protocol{{"range", subscribed("events")}}
		if rng.IntN(2) == 0 {
			c.protocol = append(c.protocol, Protocol{"sticky", nil})
		}
		m.clients = append(m.clients, c)
	}
	t.Steps(400, func(r *rand.Rand) {
		m.rng = r
		m.step()
		m.verify()
	})
	m.finish()
}

func (m *model) step() {
	c := m.clients[m.rng.IntN(len(m.clients))]
	if m.outage > 0 {
		m.outage--
		if i := slices.IndexFunc(m.queue, func(a *appended) bool { return a.done != nil }); i >= 0 {
			m.fail(i)
		}
	}
	switch n := m.rng.IntN(100); {
	case n < 45:
		m.act(c)
	case n < 60:
		m.pass(time.Duration(m.rng.IntN(4000)) * time.Millisecond)
	case n < 85:
		for range 1 + m.rng.IntN(3) {
			if len(m.queue) > 0 && m.outage == 0 {
				m.commit()
			}
		}
	case n < 88:
		if len(m.queue) > 0 {
			m.fail(m.rng.IntN(len(m.queue)))
			if m.rng.IntN(4) == 0 {
				m.outage = m.rng.IntN(100)
			}
		}
	case n < 90: // an append that was in doubt is lost
		if i := slices.IndexFunc(m.queue, func(a *appended) bool { return a.done == nil }); i >= 0 {
			m.queue = slices.Delete(m.queue, i, i+1)
		}
	case n < 92:
		c.restart()
	case n < 98:
		m.hostile(c)
	default:
		m.moveAnywhere()
	}
}

// fail puts an append in doubt, and with it those behind it, as a journal does.
func (m *model) fail(from int) {
	m.t.Logf("%d appends are in doubt", len(m.queue)-from)
	for i := from; i < len(m.queue); i++ {
		m.doubt(i)
	}
	for _, c := range m.clients {
		m.doubted[c.group] = true
	}
}

func (m *model) moveAnywhere() {
	m.t.Logf("the leadership moves")
	m.leads++
	at := 0
	if len(m.log) > 0 {
		at = m.rng.IntN(len(m.log) + 1)
	}
	m.move(m.rng.IntN(len(m.queue)+1), at)
	clear(m.doubted)
	for _, call := range m.calls {
		if call.answers != 1 {
			m.t.Fatalf("%s was answered %d times when the leadership ended", call.what, call.answers)
		}
	}
	m.calls = nil
}

func (c *modelClient) restart() {
	*c = modelClient{group: c.group, instance: c.instance, protocol: c.protocol, run: c.run + 1}
}

func (m *model) call(what string) *modelCall {
	m.t.Logf("%s", what)
	c := &modelCall{what: what, lead: m.leads}
	m.calls = append(m.calls, c)
	return c
}

func (m *model) answered(c *modelCall) {
	m.t.Logf("answer to %s", c.what)
	if c.answers++; c.answers > 1 {
		m.t.Fatalf("%s was answered twice", c.what)
	}
}

// act makes the next step of a client.
func (m *model) act(c *modelClient) {
	switch n := m.rng.IntN(10); {
	case c.joining || c.syncing:
	case c.now.Generation == 0 || n == 0:
		m.joinAs(c)
	case !c.member:
		m.syncAs(c)
	case n < 5:
		err := m.m.Heartbeat(m, c.identity())
		if err != nil {
			c.onError(err)
		}
	case n < 8:
		m.commitAs(c, c.identity())
	case n < 9:
		m.read(c.group)
	default:
		errs, err := m.m.Leave(m, c.group, []Leaver{{Member: c.now.Member, Instance: c.instance}})
		if err != nil || len(errs) != 1 {
			m.t.Fatalf("leave: %v, %v", errs, err)
		}
		c.restart()
	}
}

// onError is a client's reaction to an error.
func (c *modelClient) onError(err error) {
	id := c.now.Member
	c.now, c.member = JoinAnswer{}, false
	if errors.Is(err, ErrRebalance) || errors.Is(err, ErrMemberIDRequired) || errors.Is(err, coordinator.ErrUnavailable) || errors.Is(err, coordinator.ErrNotCoordinator) {
		c.now.Member = id
	}
}

func (c *modelClient) identity() Identity {
	return Identity{Group: c.group, Member: c.now.Member, Instance: c.instance, Generation: c.now.Generation}
}

func (m *model) joinAs(c *modelClient) {
	call, run := m.call("join of "+c.group), c.run
	c.joining, c.member = true, false
	r := request(func(r *JoinRequest) {
		r.Group, r.Member, r.Instance, r.Protocols = c.group, c.now.Member, c.instance, c.protocol
	})
	r.Session, r.Rebalance = time.Duration(6+m.rng.IntN(20))*time.Second, time.Duration(1+m.rng.IntN(20))*time.Second
	r.NeedsID = m.rng.IntN(3) > 0
	m.m.Join(m, r, func(a JoinAnswer) {
		m.answered(call)
		if a.Err == nil {
			m.checkGeneration(generation{m.m.live[c.group], a.Generation}, a)
		}
		if c.run != run {
			return
		}
		c.joining, c.now = false, a
		if a.Err != nil {
			c.onError(a.Err)
		}
	})
}

// checkGeneration has each generation led by one: by one instance, for its member id
// may be replaced.
func (m *model) checkGeneration(g generation, a JoinAnswer) {
	if a.Generation <= 0 || a.Protocol == nil || a.Member == "" {
		m.t.Fatalf("answer %+v to a join of %s", a, g.group.id)
	}
	if len(a.Members) == 0 {
		return
	}
	i := slices.IndexFunc(a.Members, func(j Joined) bool { return j.Member == a.Member })
	if i < 0 || a.Leader != a.Member {
		m.t.Fatalf("answer %+v to the leader", a)
	}
	who := a.Member
	if instance := a.Members[i].Instance; instance != nil {
		who = "instance " + *instance
	}
	if before := m.leader[g]; before != "" && before != who {
		m.t.Fatalf("generation %d of %s is led by %s and %s", g.n, g.group.id, before, who)
	}
	m.leader[g] = who
}

func (m *model) syncAs(c *modelClient) {
	call, run := m.call("sync of "+c.group), c.run
	c.syncing = true
	r := SyncRequest{Group: c.group, Member: c.now.Member, Instance: c.instance, Generation: c.now.Generation, Assignments: map[string][]byte{}}
	for _, j := range c.now.Members {
		r.Assignments[j.Member] = []byte(j.Member)
	}
	m.m.Sync(m, r, func(a SyncAnswer) {
		m.answered(call)
		if a.Err == nil {
			m.checkAssignment(r, a)
		}
		if c.run != run {
			return
		}
		c.syncing = false
		if a.Err != nil {
			c.onError(a.Err)
			return
		}
		c.member = true
	})
}

// checkAssignment fails if a member learns an assignment that could be lost.
func (m *model) checkAssignment(r SyncRequest, a SyncAnswer) {
	k := m.m.kept[r.Group]
	if k == nil || k.meta == nil || k.meta.generation != r.Generation || !slices.ContainsFunc(k.meta.members, func(who keptMember) bool {
		return bytes.Equal(who.assignment, a.Assignment) && (who.id == r.Member || who.instance != nil)
	}) {
		m.t.Fatalf("%s gets the assignment %q in generation %d of %s, which is not kept", r.Member, a.Assignment, r.Generation, r.Group)
	}
}

func (m *model) commitAs(c *modelClient, who Identity) {
	call := m.call("commit in " + c.group)
	m.sent++
	offset := m.sent
	m.m.Commit(m, CommitRequest{Identity: who, Offsets: []Commit{{Topic: "events", Partition: 1, Offset: offset, Keep: -1}}}, func(each []error, all error) {
		m.answered(call)
		if all == nil && each[0] == nil {
			if k := m.m.kept[who.Group]; k == nil || k.offsets[partition{"events", 1}].Offset != offset {
				m.t.Fatalf("commit of offset %d in %s is answered and not kept", offset, who.Group)
			}
			m.acked[who.Group] = max(m.acked[who.Group], offset)
		}
	})
}

// read asks for offsets: acknowledged ones must be in the answer.
func (m *model) read(group string) {
	call, least := m.call("read of "+group), m.acked[group]
	if m.deleting(group) {
		least = 0
	}
	m.m.Committed(group, []TopicPartition{{"events", 1}}, func(got []Committed, err error) {
		m.answered(call)
		at := int64(0)
		if err == nil && got[0].Offset != nil {
			at = got[0].Offset.Offset
		}
		if err == nil && at < least {
			m.t.Fatalf("offset %d of %s was committed, and %d is read", least, group, at)
		}
	})
}

// hostile sends requests that no good client would.
func (m *model) hostile(c *modelClient) {
	who := c.identity()
	switch m.rng.IntN(8) {
	case 6: // it has given up waiting, and asks again
		c.run++
		c.joining, c.syncing = false, false
		m.joinAs(c)
	case 7: // a commit, and at once the end of all
		who.Generation, who.Member, who.Instance = -1, "", nil
		m.commitAs(c, who)
		m.delete(c.group)
	case 0:
		who.Generation--
		_ = m.m.Heartbeat(m, who)
	case 1:
		who.Member = "stranger"
		m.commitAs(c, who)
	case 2:
		who.Generation, who.Member, who.Instance = -1, "", nil
		m.commitAs(c, who)
	case 3:
		call := m.call("strange sync")
		m.m.Sync(m, SyncRequest{Group: c.group, Member: c.now.Member, Generation: int32(m.rng.IntN(9))}, func(SyncAnswer) { m.answered(call) })
	case 4:
		call := m.call("join with another protocol")
		r := request(func(r *JoinRequest) {
			r.Group, r.Member, r.Protocols = c.group, c.now.Member, []Protocol{{"strange", nil}}
		})
		m.m.Join(m, r, func(JoinAnswer) { m.answered(call) })
	case 5:
		m.delete(c.group)
	}
}

func (m *model) delete(group string) {
	call := m.call("delete of " + group)
	m.m.Delete(m, group, func(err error) {
		m.answered(call)
		if k := m.m.kept[group]; err == nil && k != nil && len(k.offsets) > 0 {
			m.t.Fatalf("group %s is said to be deleted, and its offsets are there", group)
		}
	})
}

// deleting reports whether a deletion is under way, or may be.
func (m *model) deleting(group string) bool {
	return slices.ContainsFunc(m.queue, func(a *appended) bool {
		return slices.ContainsFunc(a.records, func(r coordinator.Record) bool {
			key, err := decodeKey(r.Key)
			return err == nil && r.Value == nil && key.group == group
		})
	})
}
