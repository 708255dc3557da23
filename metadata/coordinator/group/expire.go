package group

import (
	"maps"
	"slices"

	"github.com/varvelog/varve/metadata/coordinator"
)

// expire looks for offsets that nobody needs any more, and for groups that are
// nothing but empty. It leaves alone those of which records are under way: what they
// say is not known yet.
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
		m.persistEmpty(out, g) // it was not committed when it was first tried
		return
	}
	nowMs := out.Now().UnixMilli()
	var gone []coordinator.Record
	for _, p := range k.sortedPartitions() {
		o := k.offsets[p]
		if m.topicGone(topic{p.topic, o.TopicID}, missing) || m.expired(g, p, o, nowMs) {
			gone = append(gone, offsetTombstone(g.id, p))
		}
	}
	if len(gone) == len(k.offsets) && g.state == Empty && len(g.pending) == 0 {
		gone = m.tombstones(g)
	}
	m.appendAll(out, g, gone, func(error) {}) // what is not committed is found again
}

// topicGone reports whether a topic was missing in this look and in the one before:
// a topic just created may not be known yet where groups are coordinated.
func (m *Machine) topicGone(t topic, missing map[topic]bool) bool {
	if !missing[t] {
		if !m.config.Deleted(t.name, t.id) {
			return false
		}
		missing[t] = true
	}
	return m.missing[t]
}

// expired reports whether an offset has been kept for long enough. Offsets of a group
// with members count from their commit, and only for topics it does not consume; of
// a group that has become empty from then, unless they were committed since.
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

// TopicDeleted forgets what was committed for a topic that is known to be deleted.
// Groups of which records are under way are left to a later look at all offsets.
func (m *Machine) TopicDeleted(out coordinator.Out, id [16]byte) {
	for _, group := range slices.Sorted(maps.Keys(m.kept)) {
		var gone []coordinator.Record
		for _, p := range m.kept[group].sortedPartitions() {
			if m.kept[group].offsets[p].TopicID == id {
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
