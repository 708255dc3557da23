package group

import "github.com/varvelog/varve/metadata/coordinator"

// Heartbeat extends a member's session. ErrRebalance asks the member to join
// again.
func (m *Machine) Heartbeat(out coordinator.Out, r Identity) error {
	if r.Group == "" {
		return ErrInvalidGroup
	}
	g := m.lookup(r.Group)
	if g == nil {
		return ErrUnknownMember
	}
	defer m.settle(g)
	who, err := g.validate(r.Member, r.Instance)
	switch {
	case err != nil:
		return err
	case r.Generation != g.generation:
		return ErrIllegalGeneration
	}
	m.heard(out, who)
	if g.state == PreparingRebalance {
		return ErrRebalance
	}
	return nil
}

// heard starts a member's session again, unless the member is new: then it has
// more time than a session.
func (m *Machine) heard(out coordinator.Out, who *member) {
	if !who.isNew {
		m.startSession(out, who)
	}
}

// Leave ends memberships, and returns the result of each. It does not wait for
// a record: if the leadership ends now, the sessions time out later.
func (m *Machine) Leave(out coordinator.Out, group string, leavers []Leaver) ([]error, error) {
	if group == "" {
		return nil, ErrInvalidGroup
	}
	results := make([]error, len(leavers))
	g := m.lookup(group)
	if g == nil {
		for i := range results {
			results[i] = ErrUnknownMember
		}
		return results, nil
	}
	before := len(g.members)
	for i, l := range leavers {
		results[i] = m.leave(g, l)
	}
	if len(g.members) < before {
		m.changed(out, g)
	} else {
		m.completeIfJoined(out, g) // it may have waited for an id that has left
	}
	m.settle(g)
	return results, nil
}

func (m *Machine) leave(g *live, l Leaver) error {
	if g.pending[l.Member] != nil {
		m.forget(g, l.Member)
		return nil
	}
	id := l.Member
	if id == "" && l.Instance != nil && g.static[*l.Instance] != nil {
		id = g.static[*l.Instance].id
	}
	who, err := g.validate(id, l.Instance)
	if err != nil {
		return err
	}
	m.remove(g, who)
	return nil
}
