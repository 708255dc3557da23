package group

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/varvelog/varve/metadata/coordinator"
)

// kept is the state of one group according to the records of the partition. It
// exists as long as a record about it does.
type kept struct {
	meta    *metadata // nil for a group that only commits offsets
	offsets map[partition]Offset
}

// partition is a partition for which an offset was committed.
type partition struct {
	topic string
	index int32
}

func comparePartitions(a, b partition) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.index, b.index))
}

// Offset is the committed offset of a partition.
type Offset struct {
	TopicID     [16]byte // zero if it was not known
	Offset      int64
	LeaderEpoch int32 // -1 if none was given
	Metadata    string
	CommitMs    int64 // Unix milliseconds of the commit
	ExpireMs    int64 // Unix milliseconds at which its retention ends; -1: by the configuration
}

// metadata is a group as its last record describes it. It is immutable.
type metadata struct {
	protocolType string
	generation   int32
	protocol     *string
	leader       *string
	sinceMs      int64 // Unix milliseconds of the last change of state; -1 if not known
	members      []keptMember
}

// keptMember is a member with its assignment. Its subscription is that for the
// protocol of the generation.
type keptMember struct {
	id           string
	instance     *string
	clientID     string
	clientHost   string
	rebalanceMs  int32 // -1: as sessionMs
	sessionMs    int32
	subscription []byte
	assignment   []byte
}

// Apply implements coordinator.Machine.
func (m *Machine) Apply(at coordinator.Position, r coordinator.Record) error {
	group, err := m.apply(r)
	if err != nil {
		return fmt.Errorf("apply the record at offset %d of the consumer offsets: %w", at.Offset, err)
	}
	if m.expiry.fire != nil { // it leads
		m.follow(at, group)
	}
	return nil
}

// apply changes the kept state, and returns the group that the record is about.
func (m *Machine) apply(r coordinator.Record) (group string, err error) {
	key, err := decodeKey(r.Key)
	if err != nil {
		return "", err
	}
	if !key.isOffset {
		meta, err := decodeMetadata(r.Value)
		if err != nil {
			return "", err
		}
		m.setMetadata(key.group, meta)
		return key.group, nil
	}
	if r.Value == nil {
		m.dropOffset(key.group, key.partition)
		return key.group, nil
	}
	offset, err := decodeOffset(r.Value)
	if err != nil {
		return "", err
	}
	m.keptOf(key.group).offsets[key.partition] = offset
	return key.group, nil
}

// follow brings the live groups in line with a record. Its append may have been
// in doubt, or an earlier leadership made it: then no request waits for it. So a
// group may end here, or members come back. A stable group has written its own
// generation, so another one supersedes it. Members have a session from the time
// of the record.
func (m *Machine) follow(at coordinator.Position, group string) {
	meta := &metadata{sinceMs: -1}
	if k := m.kept[group]; k != nil && k.meta != nil {
		meta = k.meta
	}
	g := m.live[group]
	switch {
	case g == nil && len(meta.members) > 0:
		g = m.create(group)
	case g == nil:
		return
	case g.state != Stable || g.generation == meta.generation:
		m.settle(g)
		return
	}
	m.timers.stop(&g.syncing)
	for _, who := range slices.Clone(g.members) {
		m.remove(g, who)
	}
	g.state = Empty
	g.restore(m, meta)
	for _, who := range g.members {
		m.sessionFrom(time.UnixMilli(at.TimestampMs), who)
	}
	m.settle(g)
}

func (m *Machine) keptOf(group string) *kept {
	k := m.kept[group]
	if k == nil {
		k = &kept{offsets: map[partition]Offset{}}
		m.kept[group] = k
	}
	return k
}

// setMetadata replaces a group's metadata; nil for none.
func (m *Machine) setMetadata(group string, meta *metadata) {
	k := m.keptOf(group)
	k.meta = meta
	m.dropIfBare(group, k)
}

func (m *Machine) dropOffset(group string, p partition) {
	if k := m.kept[group]; k != nil {
		delete(k.offsets, p)
		m.dropIfBare(group, k)
	}
}

func (m *Machine) dropIfBare(group string, k *kept) {
	if k.meta == nil && len(k.offsets) == 0 {
		delete(m.kept, group)
	}
}

// sortedPartitions lists the partitions for which k has offsets, in order.
func (k *kept) sortedPartitions() []partition {
	if k == nil {
		return nil
	}
	return slices.SortedFunc(maps.Keys(k.offsets), comparePartitions)
}
