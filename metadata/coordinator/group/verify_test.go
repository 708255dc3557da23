package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verify checks the conditions on the machine that must hold after every step.
func (m *model) verify() {
	m.check()
	for id, g := range m.m.live {
		if g.gone {
			m.t.Fatalf("group %s is gone and alive", id)
		}
		m.verifyGroup(g)
		if m.m.kept[id] == nil && g.state == Empty && len(g.pending) == 0 && len(g.writes) == 0 {
			m.t.Fatalf("group %s is alive, and there is nothing of it", id)
		}
	}
	for id, k := range m.m.kept {
		if k.meta != nil && len(k.meta.members) > 0 && m.m.live[id] == nil {
			m.t.Fatalf("group %s is kept with %d members, and is not alive", id, len(k.meta.members))
		}
	}
}

func (m *model) verifyGroup(g *live) {
	static := 0
	for _, who := range g.members {
		if g.byID[who.id] != who {
			m.t.Fatalf("member %s of %s is not found by its id", who.id, g.id)
		}
		if who.instance != nil {
			if static++; g.static[*who.instance] != who {
				m.t.Fatalf("member %s of %s is not found by its instance", who.id, g.id)
			}
		}
		if who.sync != nil && g.state != CompletingRebalance {
			m.t.Fatalf("member %s waits for an assignment while %s is %v", who.id, g.id, g.state)
		}
		waits := who.join != nil || who.sync != nil
		if who.session.index == 0 && !waits {
			m.t.Fatalf("session of member %s of %s never ends", who.id, g.id)
		}
	}
	switch {
	case len(g.byID) != len(g.members) || len(g.static) != static:
		m.t.Fatalf("group %s has %d members, %d ids, %d of %d instances", g.id, len(g.members), len(g.byID), len(g.static), static)
	case (g.leader == "") != (len(g.members) == 0) || g.leader != "" && g.byID[g.leader] == nil:
		m.t.Fatalf("leader of %s is %q", g.id, g.leader)
	case g.state == PreparingRebalance && g.joining.index == 0, g.state == CompletingRebalance && g.syncing.index == 0 && !g.assigned:
		m.t.Fatalf("group %s is %v forever", g.id, g.state)
	case g.state == Empty && len(g.members) > 0, g.state == Stable && len(g.members) == 0:
		m.t.Fatalf("group %s is %v with %d members", g.id, g.state, len(g.members))
	}
	if k := m.m.kept[g.id]; g.state == Stable && (k == nil || k.meta == nil || k.meta.generation != g.generation) {
		m.t.Fatalf("group %s is stable in generation %d, which is not the last that is kept", g.id, g.generation)
	}
	if g.state == Stable && len(g.writes) == 0 && !m.doubted[g.id] {
		m.verifyKept(g)
	}
}

// verifyKept holds a stable group against its record.
func (m *model) verifyKept(g *live) {
	k := m.m.kept[g.id]
	if k == nil || k.meta == nil {
		m.t.Fatalf("group %s is stable and not kept", g.id)
	}
	live := g.metadata(func(who *member) []byte { return who.assignment })
	live.sinceMs = k.meta.sinceMs
	if a, b := metadataRecord(g.id, live), metadataRecord(g.id, k.meta); !bytes.Equal(a.Value, b.Value) {
		m.t.Fatalf("group %s is\n%q, and is kept as\n%q", g.id, a.Value, b.Value)
	}
}

// finish ends all clients: then no request may wait, and no group be alive.
func (m *model) finish() {
	m.auto = true
	m.turn()
	for range 20 {
		m.pass(time.Minute)
		m.verify()
	}
	for _, c := range m.calls {
		if c.answers != 1 {
			m.t.Fatalf("%s of leadership %d (now %d) has %d answers", c.what, c.lead, m.leads, c.answers)
		}
	}
	m.pass(8 * 24 * time.Hour)
	var left []string
	for id, g := range m.m.live {
		left = append(left, fmt.Sprintf("%s is alive: %v, generation %d, %d members, %d ids, %d writes",
			id, g.state, g.generation, len(g.members), len(g.pending), len(g.writes)))
	}
	for id, k := range m.m.kept {
		left = append(left, fmt.Sprintf("%s is kept: %+v, %d offsets", id, k.meta, len(k.offsets)))
	}
	if slices.Sort(left); len(left) > 0 {
		m.t.Fatalf("groups are left: %s", strings.Join(left, "; "))
	}
}
