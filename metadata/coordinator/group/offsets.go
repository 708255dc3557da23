package group

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf16"

	"github.com/varvelog/varve/metadata/coordinator"
)

// Commit commits offsets. The answer comes once they are committed in the
// bucket: an error for all, or one for each, nil for those that are committed.
// ErrNotFound is for a group of members that does not exist.
func (m *Machine) Commit(out coordinator.Out, r CommitRequest, answer func(each []error, all error)) {
	g, err := m.checkCommit(out, &r)
	if err != nil {
		answer(nil, err)
		return
	}
	defer m.settle(g)
	nowMs := out.Now().UnixMilli()
	each := make([]error, len(r.Offsets))
	var records []coordinator.Record
	var partitions []partition
	for i, c := range r.Offsets {
		if n := len(utf16.Encode([]rune(c.Metadata))); n > m.config.MaxMetadata {
			each[i] = fmt.Errorf("%w: %d, at most %d", ErrMetadataTooLarge, n, m.config.MaxMetadata)
			continue
		}
		o := Offset{
			TopicID: c.TopicID, Offset: c.Offset, LeaderEpoch: c.LeaderEpoch, Metadata: c.Metadata, CommitMs: nowMs, ExpireMs: -1,
		}
		if c.Keep >= 0 {
			o.ExpireMs = nowMs + c.Keep.Milliseconds()
		}
		p := partition{c.Topic, c.Partition}
		records, partitions = append(records, offsetRecord(r.Group, p, o)), append(partitions, p)
	}
	switch n := size(records); {
	case len(records) == 0:
		answer(each, nil)
	case n > m.config.MaxAppend:
		answer(nil, fmt.Errorf("%w: offsets to commit take %d, at most %d", coordinator.ErrTooLarge, n, m.config.MaxAppend))
	default:
		w := m.append(out, g, records, func(_ coordinator.Out, err error) { answer(each, err) })
		w.commits = partitions
	}
}

// checkCommit returns an error if the offsets may not be committed, and counts
// as a heartbeat of the member.
func (m *Machine) checkCommit(out coordinator.Out, r *CommitRequest) (*live, error) {
	g := m.lookup(r.Group)
	if g == nil {
		if r.Generation >= 0 {
			return nil, ErrNotFound
		}
		return m.create(r.Group), nil
	}
	if r.Generation < 0 && g.state == Empty {
		return g, nil
	}
	who, err := g.validate(r.Member, r.Instance)
	switch {
	case err != nil:
	case r.Generation != g.generation:
		err = ErrIllegalGeneration
	case g.state == CompletingRebalance:
		err = ErrRebalance
	default:
		m.heard(out, who)
		return g, nil
	}
	m.settle(g)
	return nil, err
}

// Committed returns the committed offsets of the partitions, in their order. If
// want is nil, it returns all of the group. The answer comes once the outcome
// of earlier commits is known.
func (m *Machine) Committed(group string, want []TopicPartition, answer func([]Committed, error)) {
	read := func(err error) {
		if err != nil {
			answer(nil, err)
			return
		}
		answer(m.committed(group, want), nil)
	}
	g := m.live[group]
	if g == nil || len(g.writes) == 0 {
		read(nil)
		return
	}
	last := g.writes[len(g.writes)-1]
	last.readers = append(last.readers, read)
}

func (m *Machine) committed(group string, want []TopicPartition) []Committed {
	k := m.kept[group]
	if want == nil {
		for _, p := range k.sortedPartitions() {
			want = append(want, TopicPartition{p.topic, p.index})
		}
	}
	out := make([]Committed, len(want))
	for i, w := range want {
		out[i].TopicPartition = w
		if k == nil {
			continue
		}
		if o, ok := k.offsets[partition{w.Topic, w.Partition}]; ok {
			out[i].Offset = &o
		}
	}
	return out
}

// DeleteOffsets deletes the committed offsets of partitions. It is answered
// like Commit. It keeps offsets that a member may still commit.
func (m *Machine) DeleteOffsets(out coordinator.Out, group string, which []TopicPartition, answer func(each []error, all error)) {
	if group == "" {
		answer(nil, ErrInvalidGroup)
		return
	}
	g := m.lookup(group)
	if g == nil {
		answer(nil, ErrNotFound)
		return
	}
	defer m.settle(g)
	if g.state != Empty && g.protocolType != consumerType {
		answer(nil, ErrNotEmpty)
		return
	}
	each := make([]error, len(which))
	var records []coordinator.Record
	committed := m.commits(g)
	for i, p := range which {
		switch key := (partition{p.Topic, p.Partition}); {
		case g.state != Empty && g.subscribedTo(p.Topic):
			each[i] = ErrSubscribed
		case committed[key]:
			records = append(records, offsetTombstone(group, key))
		}
	}
	if len(records) == 0 {
		answer(each, nil)
		return
	}
	m.appendAll(out, g, records, func(err error) { answer(each, err) })
}

// Delete deletes a group without members. The answer comes once that is
// committed.
func (m *Machine) Delete(out coordinator.Out, group string, answer func(error)) {
	g := m.lookup(group)
	if g == nil {
		answer(ErrNotFound)
		return
	}
	defer m.settle(g)
	switch {
	case g.state != Empty:
		answer(ErrNotEmpty)
	case m.kept[group] == nil && len(g.writes) == 0:
		answer(ErrNotFound)
	default:
		m.appendAll(out, g, m.tombstones(g), answer)
	}
}

// tombstones returns the records that end a group: of its offsets, and last of
// itself.
func (m *Machine) tombstones(g *live) []coordinator.Record {
	var records []coordinator.Record
	for _, p := range slices.SortedFunc(maps.Keys(m.commits(g)), comparePartitions) {
		records = append(records, offsetTombstone(g.id, p))
	}
	return append(records, metadataTombstone(g.id))
}

// commits returns the partitions with a committed offset, or with one in the
// records under way.
func (m *Machine) commits(g *live) map[partition]bool {
	all := map[partition]bool{}
	if k := m.kept[g.id]; k != nil {
		for p := range k.offsets {
			all[p] = true
		}
	}
	for _, w := range g.writes {
		for _, p := range w.commits {
			all[p] = true
		}
	}
	return all
}
