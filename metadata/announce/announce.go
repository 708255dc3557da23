// Package announce owns the hints that nodes give one another over core NATS:
// "segment N of journal J is committed", and "node X leads journal J". A segment of journal
// 0 is also the hint that the metadata has changed. The package also runs the embedded NATS
// server.
//
// Its promises are few, on purpose. A hint may come late, twice, out
// of order, from an unknown sender, or never; that may cost time, but never
// correctness. The receiver reads the bucket. Publishing never blocks, and
// nothing is buffered while the server is away, so that old hints do not arrive
// as new ones. A subscriber gets the newest hint of each journal, however slow
// it is, and memory stays bounded.
//
// It never stores anything, uses no JetStream, and never decides anything.
package announce

import (
	"errors"
	"fmt"

	"github.com/varvelog/varve/metadata/membership"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// MaxMessageSize limits an announcement on the wire, in bytes, also those of
// later versions.
const MaxMessageSize = 256

// Errors of Decode.
var (
	ErrCorrupt     = errors.New("corrupt announcement")
	ErrUnsupported = errors.New("unsupported version of announcement")
)

// Announcement says that an object of a journal is committed.
type Announcement struct {
	Journal uint32
	Epoch   uint32
	Seq     uint64
	Object  segment.ID
}

func (a Announcement) valid() bool { return a.Epoch > 0 && a.Seq > 0 && !a.Object.IsZero() }

// The messages, big-endian. Both begin with
//
//	 0  magic
//	 4  version u8, 1
//	 5  cluster id[16]
//	21  journal u32
//	25  epoch u32, from 1
//
// A committed object, magic "VRVA", goes on with
//
//	29  seq u64, from 1
//	37  object id[16]
//
// and a leader, magic "VRVL", with
//
//	29  node id[16]
//	45  seq u64 of the object by which the claim is checked, from 1
//	53  object id[16] of that
//
// Later versions append fields, and readers skip those that they do not know. The version
// changes only when older readers must not read a message.
const (
	magicCommitted uint32 = 'V'<<24 | 'R'<<16 | 'V'<<8 | 'A'
	magicLeader    uint32 = 'V'<<24 | 'R'<<16 | 'V'<<8 | 'L'
	version        uint8  = 1
	committedSize         = 53
	leaderSize            = 69
)

// topic is a kind of hints: how they travel, and which of a journal is the newest.
type topic[T any] struct {
	word    string // in the subject
	journal func(T) uint32
	before  func(a, b T) bool // of one journal
	encode  func(cluster segment.ID, v T) []byte
	decode  func(b []byte) (cluster segment.ID, v T, err error)
}

var committed = topic[Announcement]{
	word: "journal", encode: Encode, decode: Decode,
	journal: func(a Announcement) uint32 { return a.Journal },
	before:  func(a, b Announcement) bool { return a.Seq < b.Seq || a.Seq == b.Seq && a.Epoch < b.Epoch },
}

var leaders = topic[membership.Leader]{
	word: "leader", encode: EncodeLeader, decode: DecodeLeader,
	journal: func(l membership.Leader) uint32 { return l.Journal },
	before:  func(a, b membership.Leader) bool { return a.Epoch < b.Epoch },
}

// subject returns the subject of the hints about a journal.
func (t *topic[T]) subject(cluster segment.ID, journal uint32) string {
	return fmt.Sprintf("varve.%s.%s.%d", cluster, t.word, journal)
}

// all returns the subject of all hints of a cluster.
func (t *topic[T]) all(cluster segment.ID) string {
	return fmt.Sprintf("varve.%s.%s.*", cluster, t.word)
}

func begin(magic uint32, size int, cluster segment.ID, journal, epoch uint32) *wire.Writer {
	w := &wire.Writer{B: make([]byte, 0, size)}
	w.U32(magic)
	w.U8(version)
	w.ID(cluster)
	w.U32(journal)
	w.U32(epoch)
	return w
}

// Encode makes the message about a committed object for the nodes of a cluster.
func Encode(cluster segment.ID, a Announcement) []byte {
	w := begin(magicCommitted, committedSize, cluster, a.Journal, a.Epoch)
	w.U64(a.Seq)
	w.ID(a.Object)
	return w.B
}

// EncodeLeader makes the message about a leader. It leaves out the head, which nodes learn from
// the journal.
func EncodeLeader(cluster segment.ID, l membership.Leader) []byte {
	w := begin(magicLeader, leaderSize, cluster, l.Journal, l.Epoch)
	w.ID(l.Node)
	w.U64(l.Settled.Seq)
	w.ID(l.Settled.Object)
	return w.B
}

// Decode reads the form of Encode. Errors wrap ErrCorrupt or ErrUnsupported.
func Decode(b []byte) (cluster segment.ID, a Announcement, err error) {
	err = decode(magicCommitted, b, func(r *wire.Reader) bool {
		cluster = r.ID()
		a = Announcement{Journal: r.U32(), Epoch: r.U32(), Seq: r.U64(), Object: r.ID()}
		return !cluster.IsZero() && a.valid()
	})
	return cluster, a, err
}

// DecodeLeader reads the form of EncodeLeader. Errors wrap ErrCorrupt or ErrUnsupported.
func DecodeLeader(b []byte) (cluster segment.ID, l membership.Leader, err error) {
	err = decode(magicLeader, b, func(r *wire.Reader) bool {
		cluster = r.ID()
		l = membership.Leader{Journal: r.U32(), Epoch: r.U32(), Node: r.ID(), Settled: segment.Ref{Seq: r.U64(), Object: r.ID()}}
		return !cluster.IsZero() && l.Epoch > 0 && !l.Node.IsZero() && l.Settled.Seq > 0 && !l.Settled.Object.IsZero()
	})
	return cluster, l, err
}

// decode reads a message: fields reports whether they have values that a node sends.
func decode(magic uint32, b []byte, fields func(*wire.Reader) bool) error {
	if len(b) > MaxMessageSize {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrCorrupt, len(b), MaxMessageSize)
	}
	r := wire.NewReader(b)
	m, v := r.U32(), r.U8()
	switch {
	case r.Err() != nil || m != magic || v == 0:
		return fmt.Errorf("%w: no magic number and version", ErrCorrupt)
	case v != version:
		return fmt.Errorf("%w: %d, this binary knows %d", ErrUnsupported, v, version)
	}
	ok := fields(r)
	switch err := r.Err(); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case !ok:
		return fmt.Errorf("%w: a field is zero", ErrCorrupt)
	}
	return nil
}
