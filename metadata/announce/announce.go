// Package announce owns the hints that nodes give one another over core NATS:
// "segment N of journal J is committed". It also runs the embedded NATS server.
//
// Its promises are few, on purpose. An announcement may come late, twice, out
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

// before orders the announcements of one journal.
func (a Announcement) before(b Announcement) bool {
	return a.Seq < b.Seq || a.Seq == b.Seq && a.Epoch < b.Epoch
}

func (a Announcement) valid() bool { return a.Epoch > 0 && a.Seq > 0 && !a.Object.IsZero() }

// The message, big-endian, 53 bytes:
//
//	 0  magic "VRVA"
//	 4  version u8, 1
//	 5  cluster id[16]
//	21  journal u32
//	25  epoch u32, from 1
//	29  seq u64, from 1
//	37  object id[16]
const (
	magic   uint32 = 'V'<<24 | 'R'<<16 | 'V'<<8 | 'A'
	version uint8  = 1
	size           = 53
)

// Encode makes the message for the nodes of a cluster.
func Encode(cluster segment.ID, a Announcement) []byte {
	w := &wire.Writer{B: make([]byte, 0, size)}
	w.U32(magic)
	w.U8(version)
	w.ID(cluster)
	w.U32(a.Journal)
	w.U32(a.Epoch)
	w.U64(a.Seq)
	w.ID(a.Object)
	return w.B
}

// Decode reads a message. Errors wrap ErrCorrupt or ErrUnsupported.
func Decode(b []byte) (cluster segment.ID, a Announcement, err error) {
	if len(b) > MaxMessageSize {
		return segment.ID{}, Announcement{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrCorrupt, len(b), MaxMessageSize)
	}
	r := wire.NewReader(b)
	m, v := r.U32(), r.U8()
	switch {
	case r.Err() != nil || m != magic || v == 0:
		return segment.ID{}, Announcement{}, fmt.Errorf("%w: no magic number and version", ErrCorrupt)
	case v != version:
		return segment.ID{}, Announcement{}, fmt.Errorf("%w: %d, this binary knows %d", ErrUnsupported, v, version)
	}
	cluster = r.ID()
	a = Announcement{Journal: r.U32(), Epoch: r.U32(), Seq: r.U64(), Object: r.ID()}
	if err := r.Close(); err != nil {
		return segment.ID{}, Announcement{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if cluster.IsZero() || !a.valid() {
		return segment.ID{}, Announcement{}, fmt.Errorf("%w: cluster, epoch, seq or object is zero", ErrCorrupt)
	}
	return cluster, a, nil
}

// subject returns the subject for the announcements of a journal.
func subject(cluster segment.ID, journal uint32) string {
	return fmt.Sprintf("varve.%s.journal.%d", cluster, journal)
}

// allJournals returns the subject of all announcements of a cluster.
func allJournals(cluster segment.ID) string { return fmt.Sprintf("varve.%s.journal.*", cluster) }
