package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/metadata/coordinator"
)

// The versions of keys and values that are written. In Kafka, keys of another
// version are records of another kind. Values of offsets are of version 4, the
// first that may carry the topic's id: a topic of the same name created later
// does not inherit them. If the client set a retention, they are of version 1.
const (
	keyOffset     = 1
	keyMetadata   = 2
	valueExpiring = 1
	valueOffset   = 4
	valueMetadata = 3
	maxValue      = 4 // the newest that is read, of either kind
)

var (
	// ErrTooNew: a newer version of the program wrote the record.
	ErrTooNew = errors.New("the consumer offsets hold records of a newer version; upgrade this node")
	// ErrCorrupt: a record or snapshot contradicts its own format.
	ErrCorrupt = errors.New("the state of consumer groups is damaged")
)

// recordKey is the key of a record: the group or offset that it concerns.
type recordKey struct {
	group     string
	isOffset  bool
	partition partition
}

func decodeKey(b []byte) (recordKey, error) {
	version, err := versionOf(b)
	if err != nil {
		return recordKey{}, fmt.Errorf("key: %w", err)
	}
	switch version {
	case 0, keyOffset:
		var k kmsg.OffsetCommitKey
		err := decode(&k, b)
		return recordKey{group: k.Group, isOffset: true, partition: partition{k.Topic, k.Partition}}, err
	case keyMetadata:
		var k kmsg.GroupMetadataKey
		err := decode(&k, b)
		return recordKey{group: k.Group}, err
	}
	return recordKey{}, fmt.Errorf("%w: key of version %d", ErrTooNew, version)
}

func versionOf(b []byte) (int16, error) {
	if len(b) < 2 {
		return 0, fmt.Errorf("%w: %d bytes hold no version", ErrCorrupt, len(b))
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

// decode decodes a key or value. The decoder is foreign code: if it panics on
// damaged bytes, that is one bad record and must not end the process.
func decode(into interface{ ReadFrom([]byte) error }, b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: decoder panicked: %v", ErrCorrupt, p)
		}
	}()
	if err := into.ReadFrom(b); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

func checkValue(b []byte) error {
	version, err := versionOf(b)
	switch {
	case err != nil:
		return fmt.Errorf("value: %w", err)
	case version < 0 || version > maxValue:
		return fmt.Errorf("%w: value of version %d", ErrTooNew, version)
	}
	return nil
}

func decodeOffset(b []byte) (Offset, error) {
	if err := checkValue(b); err != nil {
		return Offset{}, err
	}
	v := kmsg.NewOffsetCommitValue()
	v.ExpireTimestamp, v.LeaderEpoch = -1, -1
	if err := decode(&v, b); err != nil {
		return Offset{}, err
	}
	return Offset{
		TopicID: v.TopicID, Offset: v.Offset, LeaderEpoch: v.LeaderEpoch, Metadata: v.Metadata,
		CommitMs: v.CommitTimestamp, ExpireMs: v.ExpireTimestamp,
	}, nil
}

// decodeMetadata reads the value of a group's record; nil for a tombstone.
func decodeMetadata(b []byte) (*metadata, error) {
	if b == nil {
		return nil, nil
	}
	if err := checkValue(b); err != nil {
		return nil, err
	}
	v := kmsg.NewGroupMetadataValue()
	if err := decode(&v, b); err != nil {
		return nil, err
	}
	meta := &metadata{
		protocolType: v.ProtocolType, generation: v.Generation, protocol: v.Protocol, leader: v.Leader,
		sinceMs: v.CurrentStateTimestamp, members: make([]keptMember, len(v.Members)),
	}
	for i, w := range v.Members {
		rebalance := w.RebalanceTimeoutMillis
		if v.Version == 0 {
			rebalance = -1
		}
		meta.members[i] = keptMember{
			id: w.MemberID, instance: w.InstanceID, clientID: w.ClientID, clientHost: w.ClientHost,
			rebalanceMs: rebalance, sessionMs: w.SessionTimeoutMillis,
			subscription: copied(w.Subscription), assignment: copied(w.Assignment),
		}
	}
	return meta, nil
}

// copied copies b, so that the batch it came in can be freed.
func copied(b []byte) []byte { return append([]byte{}, b...) }

func offsetKey(group string, p partition) []byte {
	k := kmsg.OffsetCommitKey{Version: keyOffset, Group: group, Topic: p.topic, Partition: p.index}
	return k.AppendTo(nil)
}

func offsetRecord(group string, p partition, o Offset) coordinator.Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version, v.Offset, v.LeaderEpoch, v.Metadata = valueOffset, o.Offset, o.LeaderEpoch, o.Metadata
	v.CommitTimestamp, v.TopicID = o.CommitMs, o.TopicID
	if o.ExpireMs >= 0 {
		v.Version, v.ExpireTimestamp = valueExpiring, o.ExpireMs
	}
	return coordinator.Record{Key: offsetKey(group, p), Value: v.AppendTo(nil)}
}

func offsetTombstone(group string, p partition) coordinator.Record {
	return coordinator.Record{Key: offsetKey(group, p)}
}

func metadataKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: keyMetadata, Group: group}
	return k.AppendTo(nil)
}

func metadataTombstone(group string) coordinator.Record {
	return coordinator.Record{Key: metadataKey(group)}
}

func metadataRecord(group string, meta *metadata) coordinator.Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Generation = valueMetadata, meta.protocolType, meta.generation
	v.Protocol, v.Leader, v.CurrentStateTimestamp = meta.protocol, meta.leader, meta.sinceMs
	for _, k := range meta.members {
		w := kmsg.NewGroupMetadataValueMember()
		w.MemberID, w.InstanceID, w.ClientID, w.ClientHost = k.id, k.instance, k.clientID, k.clientHost
		w.RebalanceTimeoutMillis, w.SessionTimeoutMillis = k.rebalanceMs, k.sessionMs
		w.Subscription, w.Assignment = notNil(k.subscription), notNil(k.assignment)
		v.Members = append(v.Members, w)
	}
	return coordinator.Record{Key: metadataKey(group), Value: v.AppendTo(nil)}
}

// notNil returns b, empty rather than nil.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
