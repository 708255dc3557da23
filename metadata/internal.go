package metadata

import (
	"errors"
	"fmt"
)

// ConsumerOffsets is the topic whose partitions hold the states of the
// coordinators of consumer groups.
const ConsumerOffsets = "__consumer_offsets"

// NewConsumerOffsets returns __consumer_offsets as the cluster creates it. It
// has as many partitions as Kafka's offsets.topic.num.partitions. The number
// never changes, because it decides the partition of each group.
func NewConsumerOffsets() NewTopic {
	return NewTopic{
		Name: ConsumerOffsets, Partitions: 50, ReplicationFactor: 1,
		Configs: map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"},
	}
}

// ErrInternalTopic: the topic is one that the cluster keeps for itself. Clients
// may read it. They may not write to it, create it, change its number of
// partitions, or delete it.
var ErrInternalTopic = errors.New("the topic is internal: it is made on first use and only the cluster itself writes to it")

// ErrReservedName: the name is kept for a topic that the cluster creates for
// itself. Clients may not create it.
var ErrReservedName = errors.New("the name is reserved for a topic that the cluster keeps for itself, choose another")

// reservedNames are those of Kafka's internal topics. Clients expect nothing
// else under these names, and varve may create the topics later.
var reservedNames = []string{ConsumerOffsets, "__transaction_state", "__cluster_metadata", "__share_group_state"}

// CheckClientName returns an error that wraps ErrInternalTopic or
// ErrReservedName if a client may not create a topic of this name. A name that
// collides with that of such a topic would prevent its creation.
func CheckClientName(name string) error {
	if IsInternal(name) {
		return ErrInternalTopic
	}
	for _, reserved := range reservedNames {
		if fold(name) == fold(reserved) {
			return fmt.Errorf("%w: %q", ErrReservedName, name)
		}
	}
	return nil
}

// IsInternal reports whether the cluster keeps a topic of this name for itself.
func IsInternal(name string) bool { return name == ConsumerOffsets }

// Internal reports whether the topic is one that the cluster keeps for itself.
func (t *Topic) Internal() bool { return IsInternal(t.Name) }
