package segment

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// Kind is the kind of an object. Zero is invalid.
type Kind uint8

// The kinds of objects in a bucket.
const (
	KindData       Kind = 1 // a journal segment: entries and record batches
	KindFence      Kind = 2 // opens an epoch of a journal; no records
	KindFiller     Kind = 3 // settles an epoch after its fence; no records
	KindFloor      Kind = 4 // names the lowest seq a reader may start from
	KindCluster    Kind = 5 // the root object of a bucket
	KindCheckpoint Kind = 6 // the state that a journal's segments up to a seq result in
	KindIndex      Kind = 7 // a page of a journal's index that a checkpoint names
	KindMerged     Kind = 8 // a merged segment: batches sorted by partition
	KindTopicName  Kind = 9 // the name of a topic, next to its merged segments

	lastKind = KindCopy
)

// ID is 128 random bits: the identity of an object, a cluster, a node's data
// folder or one start of a process. The zero ID is invalid.
type ID [16]byte

// IsZero reports whether the id is unset.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the id as 32 hex digits, the form in object keys and logs.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Base64 returns the id in the form of Kafka's uuids: 22 characters of unpadded
// base64url.
func (id ID) Base64() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// Ref points at an object of a journal. The zero Ref stands before the first.
type Ref struct {
	Seq    uint64
	Object ID
}

// WALRange is the half-open range [From, To) of log sequence numbers of one
// incarnation's write-ahead log whose records an object holds. The zero value
// covers nothing.
type WALRange struct {
	Incarnation ID
	From, To    uint64
}

// Header describes a journal object. It stands at the start of the object and
// again in its footer.
type Header struct {
	Kind        Kind
	Cluster     ID
	Object      ID
	Journal     uint32
	Epoch       uint32 // the leadership that wrote it, from 1
	Seq         uint64 // from 1
	Prev        Ref    // the valid object before it, by the chain rules of the journal
	Confirmed   uint64 // highest seq its leader had confirmed when it was built
	Node        ID     // the data folder of the writer
	Incarnation ID     // the start of the writer's process
	BuiltMs     int64  // writer's clock, Unix milliseconds; for pace and people only
	WAL         WALRange
}

// Batches returns how many batches of records the object has: each has a number of its
// writer's log.
func (h *Header) Batches() uint64 { return h.WAL.To - h.WAL.From }

// Entry is one state change of the journal itself. Only the journal's own state
// machine knows the meaning of a payload; kind 0 is invalid.
type Entry struct {
	Kind    uint16
	Payload []byte
}

// Partition is the footer's account of the records of one partition in one
// segment: their place and the state they change.
type Partition struct {
	Topic        ID
	Index        int32  // the partition's number in its topic
	LeaderEpoch  int32  // as patched into the batches
	Position     uint64 // of the first batch, from the start of the object
	Length       uint64 // bytes of all batches, which lie back to back
	CRC          uint32 // CRC-32C of these bytes
	BaseOffset   int64
	LastOffset   int64
	Records      uint32
	Batches      uint32
	MaxTimestamp int64 // Unix milliseconds, -1 if no batch has one
	Sparse       []SparseEntry
	Producers    []Producer
	OpenTxns     []OpenTxn
	AbortedTxns  []AbortedTxn
}

// SparseEntry lets a reader start near an offset. There is about one for each
// 64 KiB of a partition's records, but none for the first batch.
type SparseEntry struct {
	RelOffset   uint32 // base offset of a batch, less the partition's BaseOffset
	RelPosition uint32 // its position, less the partition's Position
}

// Producer is a segment's addition to a partition's knowledge of an idempotent
// producer: the batches that it wrote in the segment with its last epoch there.
type Producer struct {
	ID      int64
	Epoch   int16
	Batches []ProducerBatch // the last ones, oldest first, 1 to MaxProducerBatches
}

// MaxProducerBatches is how many batches of a producer are remembered: as many
// as clients keep in flight (KIP-98 limits them to five).
const MaxProducerBatches = 5

// ProducerBatch is one batch of an idempotent producer.
type ProducerBatch struct {
	FirstSequence int32
	LastSequence  int32
	BaseOffset    int64
	LastOffset    int64
	Timestamp     int64 // max timestamp of the batch, Unix milliseconds
}

// OpenTxn is a transaction that is open at the end of a segment.
type OpenTxn struct {
	ProducerID    int64
	ProducerEpoch int16
	FirstOffset   int64
}

// AbortedTxn is a transaction whose abort marker lies in the segment.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // of the abort marker
}

// Footer is the index of a journal object: its header again, its entries'
// place, and its partitions ordered by (topic, partition).
type Footer struct {
	Header     Header
	Entries    Section
	Partitions []Partition
}

// Section is a range of bytes of an object with its CRC-32C.
type Section struct {
	Position uint64
	Length   uint64
	CRC      uint32
}

// ParseID is the inverse of ID.String.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != hex.EncodedLen(len(id)) {
		return ID{}, fmt.Errorf("parse id %q: want %d hex digits", s, hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("parse id %q: %w", s, err)
	}
	return id, nil
}

// NewID draws an id from the operating system's randomness.
func NewID() ID {
	var id ID
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return id
}
