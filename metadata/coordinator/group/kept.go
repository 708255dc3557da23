package group

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

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
	if err := m.apply(r); err != nil {
		return fmt.Errorf("apply the record at offset %d of the consumer offsets: %w", at.Offset, err)
	}
	return nil
}

func (m *Machine) apply(r coordinator.Record) error {
	key, err := decodeKey(r.Key)
	if err != nil {
		return err
	}
	if !key.isOffset {
		meta, err := decodeMetadata(r.Value)
		if err != nil {
			return err
		}
		m.setMetadata(key.group, meta)
		return nil
	}
	if r.Value == nil {
		m.dropOffset(key.group, key.partition)
		return nil
	}
	offset, err := decodeOffset(r.Value)
	if err != nil {
		return err
	}
	m.keptOf(key.group).offsets[key.partition] = offset
	return nil
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
