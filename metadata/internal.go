package metadata

import (
	"errors"
	"fmt"
)

// ConsumerOffsets is the topic whose partitions hold the states of the
// coordinators of consumer groups.
const ConsumerOffsets = "__consumer_offsets"

// NewConsumerOffsets is __consumer_offsets as the cluster creates it. It has as many
// partitions as Kafka's offsets.topic.num.partitions, which never change: groups belong
// to partitions by their number.
func NewConsumerOffsets() NewTopic {
	return NewTopic{
		Name: ConsumerOffsets, Partitions: 50, ReplicationFactor: 1,
		Configs: map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"},
	}
}

// ErrInternalTopic: the topic is one that the cluster keeps for itself. Clients may
// read it, and not write, create, change the number of partitions of, or delete it.
var ErrInternalTopic = errors.New("the topic is internal: it is made on first use and only the cluster itself writes to it")

// ErrReservedName: the name is kept for a topic that the cluster makes for itself.
// Clients may not create it.
var ErrReservedName = errors.New("the name is reserved for a topic that the cluster keeps for itself, choose another")

// reservedNames are those of Kafka's internal topics, which clients expect nothing
// else under, and which varve may make later.
var reservedNames = []string{ConsumerOffsets, "__transaction_state", "__cluster_metadata", "__share_group_state"}

// CheckClientName reports whether a client may create a topic of this name,
// wrapping ErrInternalTopic or ErrReservedName if not. A name that collides with
// that of such a topic would keep it from being made.
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
