package group

import (
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// member is a member of a live group.
type member struct {
	id          string
	instance    *string
	clientID    string
	clientHost  string
	rebalanceMs int32
	sessionMs   int32
	protocols   []Protocol // each name once
	assignment  []byte

	isNew    bool             // it has not got its first generation yet
	unsynced bool             // it has not asked for its assignment yet
	join     func(JoinAnswer) // set while it waits for a generation
	sync     func(SyncAnswer) // set while it waits for its assignment
	session  timer
}

// metadataFor returns the member's metadata under a protocol.
func (who *member) metadataFor(protocol string) []byte {
	for _, p := range who.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// wants reports whether the member's protocols are exactly these.
func (who *member) wants(protocols []Protocol) bool {
	return slices.EqualFunc(who.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && slices.Equal(a.Metadata, b.Metadata)
	})
}

func (who *member) answerJoin(a JoinAnswer) {
	if answer := who.join; answer != nil {
		who.join = nil
		answer(a)
	}
}

func (who *member) answerSync(a SyncAnswer) {
	if answer := who.sync; answer != nil {
		who.sync = nil
		answer(a)
	}
}

// awaitJoin lets the member wait for the next generation. An earlier request of
// it that still waits gets an error: its client has sent another.
func (who *member) awaitJoin(answer func(JoinAnswer)) {
	who.answerJoin(JoinAnswer{Err: ErrRebalance, Member: who.id})
	who.join = answer
}

// distinct leaves out protocols whose name came before.
func distinct(protocols []Protocol) []Protocol {
	var out []Protocol
	seen := make(map[string]bool, len(protocols))
	for _, p := range protocols {
		if !seen[p.Name] {
			seen[p.Name] = true
			out = append(out, p)
		}
	}
	return out
}

// enlist makes who a member.
func (m *Machine) enlist(g *live, who *member) {
	if len(g.members) == 0 {
		g.leader = who.id
	}
	g.members = append(g.members, who)
	m.index(g, who)
	if g.pending[who.id] != nil {
		m.forget(g, who.id)
	}
}

func (m *Machine) index(g *live, who *member) {
	g.byID[who.id] = who
	if who.instance != nil {
		g.static[*who.instance] = who
	}
	g.count(who, 1)
	who.session.fire = func(out coordinator.Out) { m.sessionOver(out, g, who) }
}

func (m *Machine) unindex(g *live, who *member) {
	delete(g.byID, who.id)
	if who.instance != nil {
		delete(g.static, *who.instance)
	}
	g.count(who, -1)
	m.timers.stop(&who.session)
}

// count adds the member's protocols and bytes to those of the group, or
// subtracts them.
func (g *live) count(who *member, n int) {
	g.hold(int64(n) * who.bytes())
	for _, p := range who.protocols {
		if g.known[p.Name] += n; g.known[p.Name] == 0 {
			delete(g.known, p.Name)
		}
	}
}

// remove ends a membership. It answers every request of the member that waits:
// if the client still exists, it will join again.
func (m *Machine) remove(g *live, who *member) {
	who.answerJoin(JoinAnswer{Err: ErrUnknownMember})
	who.answerSync(SyncAnswer{Err: ErrUnknownMember})
	m.unindex(g, who)
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == who })
	if g.leader == who.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// startSession starts a member's session again.
func (m *Machine) startSession(out coordinator.Out, who *member) {
	m.sessionFrom(out.Now(), who)
}

func (m *Machine) sessionFrom(start time.Time, who *member) {
	m.timers.set(&who.session, start.Add(time.Duration(who.sessionMs)*time.Millisecond))
}

// sessionOver removes a member that sent nothing. One that waits for an answer
// needs no heartbeats, unless it is new: its client may have given up waiting.
func (m *Machine) sessionOver(out coordinator.Out, g *live, who *member) {
	if !who.isNew && (who.join != nil || who.sync != nil) {
		return // its session starts again when it is answered
	}
	m.remove(g, who)
	m.changed(out, g)
	m.settle(g)
}
