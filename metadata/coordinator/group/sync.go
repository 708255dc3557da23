package group

import (
	"fmt"

	"github.com/varvelog/varve/metadata/coordinator"
)

// Sync gives a member its assignment, when the leader has sent it and it is
// committed.
func (m *Machine) Sync(out coordinator.Out, r SyncRequest, answer func(SyncAnswer)) {
	g, who, err := m.checkSync(&r)
	if err != nil {
		answer(SyncAnswer{Err: err})
		return
	}
	who.unsynced = false
	if g.state == Stable {
		answer(g.synced(who))
		return
	}
	who.answerSync(SyncAnswer{Err: ErrRebalance}) // its client has sent another request
	who.sync = answer
	if who.id == g.leader && !g.assigned {
		m.assign(out, g, r.Assignments)
	}
}

func (m *Machine) checkSync(r *SyncRequest) (*live, *member, error) {
	if r.Group == "" {
		return nil, nil, ErrInvalidGroup
	}
	g := m.lookup(r.Group)
	if g == nil {
		return nil, nil, ErrUnknownMember
	}
	defer m.settle(g)
	who, err := g.validate(r.Member, r.Instance)
	switch {
	case err != nil:
		return nil, nil, err
	case r.Generation != g.generation:
		return nil, nil, ErrIllegalGeneration
	case r.ProtocolType != nil && *r.ProtocolType != g.protocolType,
		r.Protocol != nil && g.protocol != nil && *r.Protocol != *g.protocol:
		return nil, nil, ErrInconsistentProtocol
	case g.state == PreparingRebalance:
		return nil, nil, ErrRebalance
	}
	return g, who, nil
}

func (g *live) synced(who *member) SyncAnswer {
	return SyncAnswer{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: who.assignment}
}

// assign writes the assignments of a generation. It gives them out once they
// are committed, if the generation is still the same.
func (m *Machine) assign(out coordinator.Out, g *live, assignments map[string][]byte) {
	generation := g.generation
	record := metadataRecord(g.id, g.metadata(func(who *member) []byte { return assignments[who.id] }))
	done := func(out coordinator.Out, err error) {
		switch {
		case g.gone || g.state != CompletingRebalance || g.generation != generation:
			return
		case err != nil:
			m.refuseSyncs(out, g, err)
			m.prepare(out, g)
			return
		}
		for _, who := range g.members {
			g.assign(who, notNil(assignments[who.id]))
			if who.sync != nil {
				m.startSession(out, who)
				who.answerSync(g.synced(who))
			}
		}
		g.become(out, Stable)
	}
	if n := size([]coordinator.Record{record}); n > m.config.MaxAppend {
		done(out, fmt.Errorf("%w: assignments of group %q take %d, at most %d", coordinator.ErrTooLarge, g.id, n, m.config.MaxAppend))
		return
	}
	g.assigned = true
	m.append(out, g, []coordinator.Record{record}, done)
}
