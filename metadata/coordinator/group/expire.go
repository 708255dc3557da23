package group

import (
	"maps"
	"slices"

	"github.com/varvelog/varve/metadata/coordinator"
)

// expire searches for offsets that are not needed any more, and for groups that
// are empty and nothing else. It skips groups with records under way: their
// content is not known yet.
func (m *Machine) expire(out coordinator.Out) {
	m.timers.set(&m.expiry, out.Now().Add(m.config.ExpireEvery))
	missing := map[topic]bool{}
	for _, id := range slices.Sorted(maps.Keys(m.kept)) {
		g := m.lookup(id)
		if len(g.writes) == 0 {
			m.expireGroup(out, g, missing)
		}
		m.settle(g)
	}
	m.missing = missing
}

func (m *Machine) expireGroup(out coordinator.Out, g *live, missing map[topic]bool) {
	k := m.kept[g.id]
	if g.state == Empty && k.meta != nil && (len(k.meta.members) > 0 || k.meta.generation != g.generation) {
		m.persistEmpty(out, g) // the first attempt was not committed
		return
	}
	nowMs := out.Now().UnixMilli()
	var gone []coordinator.Record
	for _, p := range k.sortedPartitions() {
		o := k.offsets[p]
		if m.topicGone(out, topic{p.topic, o.TopicID}, missing) || m.expired(g, p, o, nowMs) {
			gone = append(gone, offsetTombstone(g.id, p))
		}
	}
	if len(gone) == len(k.offsets) && g.state == Empty && len(g.pending) == 0 {
		gone = m.tombstones(g)
	}
	m.appendAll(out, g, gone, func(error) {}) // the next search finds offsets whose records are not committed
}

// topicGone reports whether a topic was missing in this search and in the one
// before: this node may not know a topic yet that was just created.
func (m *Machine) topicGone(out coordinator.Out, t topic, missing map[topic]bool) bool {
	if !missing[t] {
		if !out.TopicGone(t.name, t.id) {
			return false
		}
		missing[t] = true
	}
	return m.missing[t]
}

// expired reports whether the retention of an offset is over. Offsets of a
// group with members count from their commit, and only for topics that it does
// not consume. Offsets of an empty group count from when it became empty, or
// from a later commit.
func (m *Machine) expired(g *live, p partition, o Offset, nowMs int64) bool {
	switch {
	case g.state == Empty:
	case g.state != Stable || g.protocolType != consumerType || g.topics == nil || g.topics[p.topic]:
		return false
	}
	if o.ExpireMs >= 0 {
		return nowMs >= o.ExpireMs
	}
	from := o.CommitMs
	if g.state == Empty {
		from = max(from, g.sinceMs)
	}
	return nowMs-from >= m.config.Retention.Milliseconds()
}

// TopicsDeleted implements coordinator.Machine: offsets that were committed for
// the topics are deleted at once, because tools would ask about them. Groups
// with records under way are left to a later search of all offsets.
func (m *Machine) TopicsDeleted(out coordinator.Out, ids [][16]byte) {
	deleted := make(map[[16]byte]bool, len(ids))
	for _, id := range ids {
		deleted[id] = true
	}
	for _, group := range slices.Sorted(maps.Keys(m.kept)) {
		var gone []coordinator.Record
		for _, p := range m.kept[group].sortedPartitions() {
			if deleted[m.kept[group].offsets[p].TopicID] {
				gone = append(gone, offsetTombstone(group, p))
			}
		}
		if len(gone) == 0 {
			continue
		}
		g := m.lookup(group)
		if len(g.writes) == 0 {
			m.appendAll(out, g, gone, func(error) {})
		}
		m.settle(g)
	}
}
