package group

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// maxPending limits the ids of a group that were given out and not used yet.
const maxPending = 10_000

// Join takes a member into the next generation of a group. The answer comes
// when that begins, which may take until the slowest member's rebalance
// time-out.
func (m *Machine) Join(out coordinator.Out, r JoinRequest, answer func(JoinAnswer)) {
	if err := m.checkJoin(&r); err != nil {
		answer(JoinAnswer{Err: err, Member: r.Member})
		return
	}
	g := m.lookup(r.Group)
	if g == nil && r.Member != "" {
		answer(JoinAnswer{Err: ErrUnknownMember, Member: r.Member})
		return
	}
	if g == nil {
		g = m.create(r.Group)
	}
	defer m.settle(g)
	switch {
	case !m.accepts(g, r.Member):
		if who := g.byID[r.Member]; who != nil {
			m.remove(g, who)
			m.completeIfJoined(out, g)
		}
		answer(JoinAnswer{Err: ErrGroupFull})
	case !g.supports(r.ProtocolType, r.Protocols):
		answer(JoinAnswer{Err: ErrInconsistentProtocol, Member: r.Member})
	case m.roomFor(g, &r) != nil:
		answer(JoinAnswer{Err: m.roomFor(g, &r), Member: r.Member})
	case r.Member == "":
		m.joinNew(out, g, &r, answer)
	default:
		m.rejoin(out, g, &r, answer)
	}
}

func (m *Machine) checkJoin(r *JoinRequest) error {
	r.Protocols = distinct(r.Protocols)
	switch {
	case r.Group == "":
		return ErrInvalidGroup
	case r.Session < m.config.MinSession || r.Session > m.config.MaxSession:
		return fmt.Errorf("%w: %v, must be from %v to %v", ErrSessionTimeout, r.Session, m.config.MinSession, m.config.MaxSession)
	}
	r.Rebalance = max(r.Rebalance, 0)
	return nil
}

// accepts reports whether there is room for a member. While a group rebalances,
// only the members that have joined count, so the last ones over the limit are
// left out.
func (m *Machine) accepts(g *live, id string) bool {
	if m.config.MaxSize == 0 || g.state == Empty {
		return true
	}
	who := g.byID[id]
	if g.state != PreparingRebalance {
		return who != nil || len(g.members) < m.config.MaxSize
	}
	joined := 0
	for _, other := range g.members {
		if other.join != nil {
			joined++
		}
	}
	return who != nil && who.join != nil || joined < m.config.MaxSize
}

func (m *Machine) joinNew(out coordinator.Out, g *live, r *JoinRequest, answer func(JoinAnswer)) {
	if r.Instance != nil {
		id := m.newID(*r.Instance)
		if old := g.static[*r.Instance]; old != nil {
			m.replace(out, g, old, id, r, answer)
			return
		}
		m.add(out, g, id, r, answer)
		return
	}
	id := m.newID(r.ClientID)
	switch {
	case !r.NeedsID:
		m.add(out, g, id, r, answer)
	case len(g.pending) >= maxPending:
		answer(JoinAnswer{Err: ErrGroupFull})
	default:
		t := &timer{}
		t.fire = func(out coordinator.Out) { m.pendingOver(out, g, id) }
		g.pending[id] = t
		g.hold(pendingBytes + int64(len(id)))
		m.timers.set(t, out.Now().Add(r.Session))
		answer(JoinAnswer{Err: ErrMemberIDRequired, Member: id})
	}
}

// newID makes a member's id, which begins with the name of its client. It cuts
// a very long name: if the id did not fit its record, the record could not be
// read back.
func (m *Machine) newID(name string) string {
	id := "-" + m.config.NewID()
	if most := math.MaxInt16 - len(id); len(name) > most {
		name = strings.ToValidUTF8(name[:most], "")
	}
	return name + id
}

// pendingOver forgets an id that its client did not use in time.
func (m *Machine) pendingOver(out coordinator.Out, g *live, id string) {
	m.forget(g, id)
	m.completeIfJoined(out, g)
	m.settle(g)
}

func (m *Machine) forget(g *live, id string) {
	m.timers.stop(g.pending[id])
	delete(g.pending, id)
	g.hold(-pendingBytes - int64(len(id)))
}

// add makes a new member. The member cannot send heartbeats before it has its
// answer. Until then it cannot be distinguished from a client that has given
// up, so it gets some minutes.
func (m *Machine) add(out coordinator.Out, g *live, id string, r *JoinRequest, answer func(JoinAnswer)) {
	who := &member{
		id: id, instance: r.Instance, clientID: r.ClientID, clientHost: r.ClientHost,
		isNew: true, join: answer,
	}
	who.update(r)
	if len(g.members) == 0 {
		g.protocolType = r.ProtocolType
	}
	g.grown = g.state == PreparingRebalance && g.initial
	m.enlist(g, who)
	m.timers.set(&who.session, out.Now().Add(m.config.NewMemberTimeout))
	m.changed(out, g)
}

// update replaces the data that a member sends each time it joins.
func (who *member) update(r *JoinRequest) {
	who.protocols = r.Protocols
	who.rebalanceMs, who.sessionMs = int32(r.Rebalance/time.Millisecond), int32(r.Session/time.Millisecond)
}

// rejoin is the Join of a client that has an id.
func (m *Machine) rejoin(out coordinator.Out, g *live, r *JoinRequest, answer func(JoinAnswer)) {
	if g.pending[r.Member] != nil && r.Instance == nil {
		m.add(out, g, r.Member, r, answer)
		return
	}
	who, err := g.validate(r.Member, r.Instance)
	if err != nil {
		answer(JoinAnswer{Err: err, Member: r.Member})
		return
	}
	same := who.wants(r.Protocols)
	switch {
	case g.state == CompletingRebalance && same, g.state == Stable && same && g.leader != who.id:
		// Either its answer was lost, or it does not need a rebalance. Only the
		// leader may want one for reasons that do not show, such as a topic
		// that has more partitions.
		answer(g.joined(who))
	default:
		g.count(who, -1)
		who.update(r)
		g.count(who, 1)
		who.awaitJoin(answer)
		m.changed(out, g)
	}
}

// joined returns the generation, in the answer for one member.
func (g *live) joined(who *member) JoinAnswer {
	a := JoinAnswer{
		Member: who.id, Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader,
	}
	if who.id != g.leader {
		return a
	}
	for _, other := range g.members {
		a.Members = append(a.Members, Joined{Member: other.id, Instance: other.instance, Metadata: other.metadataFor(text(g.protocol))})
	}
	return a
}

// replace gives a static member that has come back without its id another one.
// The process with the old id is fenced. If the group is stable and the
// member's protocols do not change the selected one, the member has its
// assignment already, and the other members need no notice.
func (m *Machine) replace(out coordinator.Out, g *live, old *member, id string, r *JoinRequest, answer func(JoinAnswer)) {
	before := g.leader
	who := m.substitute(g, old, id)
	m.timers.set(&who.session, out.Now().Add(r.Session))
	g.count(who, -1)
	who.update(r)
	g.count(who, 1)
	who.join = answer
	switch {
	case g.state == CompletingRebalance:
		m.prepare(out, g) // the leader may be assigning to the old id
	case g.state == Stable && g.vote() == text(g.protocol):
		m.persistReplacement(out, g, who, r.KnowsSkip, before)
	default:
		m.changed(out, g)
	}
}

// substitute puts a member with another id in the place of old.
func (m *Machine) substitute(g *live, old *member, id string) *member {
	old.answerJoin(JoinAnswer{Err: ErrFencedInstance, Member: old.id})
	old.answerSync(SyncAnswer{Err: ErrFencedInstance})
	who := &member{
		id: id, instance: old.instance, clientID: old.clientID, clientHost: old.clientHost,
		protocols: old.protocols, assignment: old.assignment, unsynced: old.unsynced,
	}
	m.unindex(g, old)
	for i := range g.members {
		if g.members[i] == old {
			g.members[i] = who
		}
	}
	m.index(g, who)
	if g.leader == old.id {
		g.leader = who.id
	}
	return who
}

// persistReplacement answers a replaced member once its new id is committed. If
// a rebalance begins before that, the answer is the next generation.
func (m *Machine) persistReplacement(out coordinator.Out, g *live, who *member, knowsSkip bool, before string) {
	generation := g.generation
	record := metadataRecord(g.id, g.metadata(func(who *member) []byte { return who.assignment }))
	m.append(out, g, []coordinator.Record{record}, func(out coordinator.Out, err error) {
		switch {
		case err != nil:
			if who.join != nil { // otherwise it was answered, and may be a member no more
				m.startSession(out, who) // it may have run out in between
				who.answerJoin(JoinAnswer{Err: err})
			}
			return
		case g.state != Stable || g.generation != generation || g.byID[who.id] != who || who.join == nil:
			return
		}
		a := g.joined(who)
		if knowsSkip {
			a.SkipAssignment = g.leader == who.id
		} else {
			a.Leader, a.Members = before, nil // it must not act as the leader and assign
		}
		m.startSession(out, who)
		who.answerJoin(a)
	})
}
