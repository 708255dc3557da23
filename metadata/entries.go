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
)

// SupportedLevel is the highest feature level this binary knows.
const SupportedLevel uint16 = 1

// MaxProducerIDs limits one block of producer ids.
const MaxProducerIDs = 1_000_000

// payloadVersion is the first byte of every payload.
const payloadVersion uint8 = 1

// Change is one entry of journal 0, decoded: one of the types below.
type Change interface {
	kind() uint16
	check() error // the checks of the entry alone, for encoding and decoding
	encode(w *wire.Writer)
	apply(img *image) (undo func(), err error) // changes nothing if it returns an error
}

// FeatureLevel raises the level in force. The first entry of a cluster sets it.
type FeatureLevel struct{ Level uint16 }

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
}

// TopicDeleted makes a topic invisible. Its name stays taken.
type TopicDeleted struct{ ID segment.ID }

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
	w.U8(payloadVersion)
	c.encode(w)
	if err := w.Err(); err != nil {
		return segment.Entry{}, fmt.Errorf("encode metadata entry %T: %w", c, err)
	}
	return segment.Entry{Kind: c.kind(), Payload: w.B}, nil
}

// Decode decodes a journal entry. For an unknown kind or version the error
// wraps ErrTooOld, for any other fault ErrCorrupt.
func Decode(e segment.Entry) (Change, error) {
	decode, ok := decoders[e.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: unknown metadata entry kind %d", ErrTooOld, e.Kind)
	}
	r := wire.NewReader(e.Payload)
	version := r.U8()
	switch {
	case r.Err() != nil || version == 0:
		return nil, fmt.Errorf("%w: metadata entry kind %d has no version", ErrCorrupt, e.Kind)
	case version != payloadVersion:
		return nil, fmt.Errorf("%w: metadata entry kind %d has unsupported version %d", ErrTooOld, e.Kind, version)
	}
	c, err := decode(r)
	if err == nil {
		err = r.Close()
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: metadata entry kind %d: %w", ErrCorrupt, e.Kind, err)
	}
	return c, nil
}

var decoders = map[uint16]func(*wire.Reader) (Change, error){
	EntryFeatureLevel:    decodeFeatureLevel,
	EntryNodeRegistered:  decodeNodeRegistered,
	EntryJournalCreated:  decodeJournalCreated,
	EntryTopicCreated:    decodeTopicCreated,
	EntryTopicDeleted:    decodeTopicDeleted,
	EntryTopicPurged:     decodeTopicPurged,
	EntryProducerIDs:     decodeProducerIDs,
	EntryPartitionsAdded: decodePartitionsAdded,
	EntryTopicConfigured: decodeTopicConfigured,
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
