package group

import (
	"maps"
	"slices"
)

// Listed is a group in a list.
type Listed struct {
	Group        string
	ProtocolType string
	State        State
}

// List lists the groups, by id.
func (m *Machine) List() []Listed {
	ids := slices.Collect(maps.Keys(m.kept))
	for id, g := range m.live {
		if m.kept[id] == nil && (len(g.members) > 0 || len(g.pending) > 0) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	list := make([]Listed, len(ids))
	for i, id := range ids {
		list[i] = m.listed(id)
	}
	return list
}

func (m *Machine) listed(id string) Listed {
	if g := m.live[id]; g != nil {
		return Listed{Group: id, ProtocolType: g.protocolType, State: g.state}
	}
	l := Listed{Group: id, State: Empty} // those with members are alive
	if meta := m.kept[id].meta; meta != nil {
		l.ProtocolType = meta.protocolType
	}
	return l
}

// Description is a group with its members.
type Description struct {
	Listed
	Protocol string // of a stable group
	Members  []Described
}

// Described is a member with its wanted and its assigned data, of a stable
// group.
type Described struct {
	Member     string
	Instance   *string
	ClientID   string
	ClientHost string
	Metadata   []byte
	Assignment []byte
}

// Describe describes a group, or returns ErrNotFound.
func (m *Machine) Describe(group string) (Description, error) {
	g := m.lookup(group)
	if g == nil {
		return Description{}, ErrNotFound
	}
	defer m.settle(g)
	d := Description{Listed: m.listed(group)}
	stable := g.state == Stable
	if stable {
		d.Protocol = text(g.protocol)
	}
	for _, who := range g.members {
		described := Described{Member: who.id, Instance: who.instance, ClientID: who.clientID, ClientHost: who.clientHost}
		if stable {
			described.Metadata, described.Assignment = who.metadataFor(d.Protocol), who.assignment
		}
		d.Members = append(d.Members, described)
	}
	return d, nil
}
