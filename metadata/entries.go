package metadata

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// Kinds of entries of journal 0. A number never gets another meaning.
const (
	EntryFeatureLevel    uint16 = 1
	EntryNodeRegistered  uint16 = 2
	EntryJournalCreated  uint16 = 3
	EntryTopicCreated    uint16 = 4
	EntryTopicDeleted    uint16 = 5
	EntryTopicPurged     uint16 = 6
	EntryProducerIDs     uint16 = 7
	EntryPartitionsAdded uint16 = 8
	EntryTopicConfigured uint16 = 9
	EntryTopicRestored   uint16 = 10
)

// Feature levels. A level is in force for the whole cluster; nothing that it brought is
// written below it.
const (
	// LevelTiering brought merged segments, deletion from the bucket, and topics that can
	// be restored after their deletion.
	LevelTiering uint16 = 2

	// LevelCluster brought several nodes that write: their starts and states, the
	// assignment of journals to them, and epoch bases of partitions.
	LevelCluster uint16 = 3

	// LevelSecurity brought users, ACLs, quotas, and the authentication of clients.
	LevelSecurity uint16 = 4

	// SupportedLevel is the highest feature level that a node of this binary takes part in.
	SupportedLevel = LevelCluster
)

// MaxProducerIDs limits one block of producer ids.
const MaxProducerIDs = 1_000_000

// payloadVersion is the first byte of every payload but those of timedVersion.
const payloadVersion uint8 = 1

// timedVersion is the first byte of the payloads of FeatureLevel and TopicDeleted that
// have a time, basedVersion that of TopicCreated and PartitionsAdded with epoch bases.
const (
	timedVersion uint8 = 2
	basedVersion uint8 = 2
)

// Change is one entry of journal 0, decoded: one of the types below.
type Change interface {
	kind() uint16
	version() uint8 // of the payload
	check() error   // the checks of the entry alone, for encoding and decoding
	encode(w *wire.Writer)
	apply(img *image) (undo func(), err error) // changes nothing if it returns an error
}

// FeatureLevel raises the level in force. The first entry of a cluster sets it.
type FeatureLevel struct {
	Level uint16
	AtMs  int64 // when LevelTiering or more was asked for; 0: the cluster began with it
}

// NodeRegistered gives a data folder its broker id, forever.
type NodeRegistered struct {
	Node segment.ID
	ID   int32 // one more than the last, from 1
}

// JournalCreated adds a data journal.
type JournalCreated struct{ ID uint32 } // one more than the last, from 1

// TopicCreated adds a topic.
type TopicCreated struct {
	ID                segment.ID
	Name              string
	ReplicationFactor int16
	CreatedMs         int64 // Unix milliseconds
	Configs           map[string]string
	Journals          []uint32 // of each partition, by index
	Bases             []int32  // the epoch base of each partition, nil: all are zero
}

// TopicDeleted makes a topic invisible. From LevelTiering on, its name is free again and
// the topic can be restored until it is purged; before, its name stays taken until then.
type TopicDeleted struct {
	ID   segment.ID
	AtMs int64 // Unix milliseconds; 0 before LevelTiering
}

// TopicRestored makes a deleted topic visible again.
type TopicRestored struct{ ID segment.ID }

// TopicPurged forgets a deleted topic: the seals of all its partitions are
// committed in their journals.
type TopicPurged struct{ ID segment.ID }

// ProducerIDs allocates the producer ids [From, From+Count).
type ProducerIDs struct {
	From  int64 // where the last block ended; 1 for the first
	Count uint32
}

// PartitionsAdded gives a topic more partitions.
type PartitionsAdded struct {
	ID       segment.ID
	From     uint32   // the first new one: how many there were
	Journals []uint32 // of each new partition
	Bases    []int32  // the epoch base of each new partition, nil: all are zero
}

// TopicConfigured replaces all configs of a topic.
type TopicConfigured struct {
	ID      segment.ID
	Configs map[string]string
}

// Encode makes a journal entry of c, or returns why c is not valid.
func Encode(c Change) (segment.Entry, error) {
	if err := c.check(); err != nil {
		return segment.Entry{}, fmt.Errorf("encode metadata entry %T: %w", c, err)
	}
	w := &wire.Writer{}
	w.U8(c.version())
	c.encode(w)
	if err := w.Err(); err != nil {
		return segment.Entry{}, fmt.Errorf("encode metadata entry %T: %w", c, err)
	}
	return segment.Entry{Kind: c.kind(), Payload: w.B}, nil
}

// Decode decodes a journal entry. For an unknown kind or version the error
// wraps ErrTooOld, for any other fault ErrCorrupt.
func Decode(e segment.Entry) (Change, error) {
	versions, ok := decoders[e.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: unknown metadata entry kind %d", ErrTooOld, e.Kind)
	}
	r := wire.NewReader(e.Payload)
	version := r.U8()
	switch {
	case r.Err() != nil || version == 0:
		return nil, fmt.Errorf("%w: metadata entry kind %d has no version", ErrCorrupt, e.Kind)
	case int(version) > len(versions):
		return nil, fmt.Errorf("%w: metadata entry kind %d has unsupported version %d", ErrTooOld, e.Kind, version)
	}
	c, err := versions[version-1](r)
	if err == nil {
		err = r.Close()
	}
	if err == nil {
		err = c.check()
	}
	if err == nil && c.version() != version {
		err = fmt.Errorf("version %d of a payload that has version %d", version, c.version())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: metadata entry kind %d: %w", ErrCorrupt, e.Kind, err)
	}
	return c, nil
}

// decoder decodes a payload after its version.
type decoder func(*wire.Reader) (Change, error)

// decoders are those of each kind, by version from 1 on.
var decoders = map[uint16][]decoder{
	EntryFeatureLevel:    {decodeFeatureLevel, decodeTimedLevel},
	EntryNodeRegistered:  {decodeNodeRegistered},
	EntryJournalCreated:  {decodeJournalCreated},
	EntryTopicCreated:    {decodeTopicCreated, decodeBasedTopic},
	EntryTopicDeleted:    {decodeTopicDeleted, decodeTimedDeletion},
	EntryTopicPurged:     {decodeTopicPurged},
	EntryProducerIDs:     {decodeProducerIDs},
	EntryPartitionsAdded: {decodePartitionsAdded, decodeBasedPartitions},
	EntryTopicConfigured: {decodeTopicConfigured},
	EntryTopicRestored:   {decodeTopicRestored},
	EntryNodeStarted:     {decodeNodeStarted},
	EntryNodeSet:         {decodeNodeSet},
	EntryNodeFenced:      {decodeNodeFenced},
	EntryJournalAssigned: {decodeJournalAssigned},
	EntryNoOp:            {decodeNoOp},

	EntryACLsAdded:         {decodeACLsAdded},
	EntryACLsRemoved:       {decodeACLsRemoved},
	EntryUserSet:           {decodeUserSet},
	EntryUserRemoved:       {decodeUserRemoved},
	EntryAuthenticationSet: {decodeAuthenticationSet},
	EntryQuotaSet:          {decodeQuotaSet},
	EntryQuotaRemoved:      {decodeQuotaRemoved},
}

func (FeatureLevel) kind() uint16    { return EntryFeatureLevel }
func (NodeRegistered) kind() uint16  { return EntryNodeRegistered }
func (JournalCreated) kind() uint16  { return EntryJournalCreated }
func (TopicCreated) kind() uint16    { return EntryTopicCreated }
func (TopicDeleted) kind() uint16    { return EntryTopicDeleted }
func (TopicPurged) kind() uint16     { return EntryTopicPurged }
func (ProducerIDs) kind() uint16     { return EntryProducerIDs }
func (PartitionsAdded) kind() uint16 { return EntryPartitionsAdded }
func (TopicConfigured) kind() uint16 { return EntryTopicConfigured }
func (TopicRestored) kind() uint16   { return EntryTopicRestored }

func (c FeatureLevel) version() uint8    { return versionOf(c.AtMs) }
func (NodeRegistered) version() uint8    { return payloadVersion }
func (JournalCreated) version() uint8    { return payloadVersion }
func (c TopicCreated) version() uint8    { return versionWith(c.Bases) }
func (c TopicDeleted) version() uint8    { return versionOf(c.AtMs) }
func (TopicPurged) version() uint8       { return payloadVersion }
func (ProducerIDs) version() uint8       { return payloadVersion }
func (c PartitionsAdded) version() uint8 { return versionWith(c.Bases) }
func (TopicConfigured) version() uint8   { return payloadVersion }
func (TopicRestored) version() uint8     { return payloadVersion }

// versionOf is the version of a payload that has a time, or none if that is zero.
func versionOf(atMs int64) uint8 {
	if atMs == 0 {
		return payloadVersion
	}
	return timedVersion
}

// versionWith is the version of a payload with these epoch bases.
func versionWith(bases []int32) uint8 {
	if bases == nil {
		return payloadVersion
	}
	return basedVersion
}
