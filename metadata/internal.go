package metadata

import "errors"

// ConsumerOffsets is the topic whose partitions hold the states of the
// coordinators of consumer groups.
const ConsumerOffsets = "__consumer_offsets"

// ErrInternalTopic: the topic is one that the cluster keeps for itself. Clients may
// read it, and not write, create, change the number of partitions of, or delete it.
var ErrInternalTopic = errors.New("the topic is internal: it is made on first use and only the cluster itself writes to it")

// IsInternal reports whether the cluster keeps a topic of this name for itself.
func IsInternal(name string) bool { return name == ConsumerOffsets }

// Internal reports whether the topic is one that the cluster keeps for itself.
func (t *Topic) Internal() bool { return IsInternal(t.Name) }
