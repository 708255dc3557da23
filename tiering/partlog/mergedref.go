package partlog

import (
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// mergedObject is a merged segment as extents name it. It never changes. All extents of a
// shared segment have the same one.
type mergedObject struct {
	id      segment.ID
	base    int64 // in the key of an own segment; -1 of a shared one
	sha256  [32]byte
	builtMs int64
	size    uint32
}

// name is the name of the object, which is that of the partition if it is an own one.
func (o *mergedObject) name(journal uint32, k Key) segment.Name {
	if o.base < 0 {
		return segment.SharedSegment(journal, o.id)
	}
	return segment.OwnSegment(k.Topic, k.Index, o.base, o.id)
}

// mergedRef is an extent below the offset up to which a partition is merged, in the least
// memory. It is a range of a merged segment, or of a journal object that could not be read.
type mergedRef struct {
	object           *mergedObject // nil: of the journal object at Seq
	Seq              uint64
	Base, Last       int64
	MaxTimestamp     int64
	SourceMs         int64
	Position, Length uint32
	IndexLength      uint32
	CRC              uint32
	Records          uint32
	Epoch            int32 // of a journal object
}

func (m *mergedRef) own() bool { return m.object != nil && m.object.base >= 0 }

func (m *mergedRef) shared() bool { return m.object != nil && m.object.base < 0 }

// extent is the Extent of a ref that has the fields of a piece.
func (m *mergedRef) extent(journal uint32, k Key, o *mergedObject) Extent {
	e := Extent{
		Object: segment.DataObject(journal, m.Seq),
		Base:   m.Base, Last: m.Last,
		MaxTimestamp: m.MaxTimestamp,
		Position:     m.Position, Length: m.Length,
		Epoch: m.Epoch, CRC: m.CRC,
		IndexLength: m.IndexLength, Records: m.Records, SourceMs: m.SourceMs,
	}
	if o != nil {
		e.Object, e.Size, e.SHA256, e.BuiltMs = o.name(journal, k), o.size, o.sha256, o.builtMs
	}
	return e
}

// mergedRefOf is the inverse of mergedRef.extent.
func mergedRefOf(e *Extent, o *mergedObject) mergedRef {
	m := mergedRef{
		object: o, Base: e.Base, Last: e.Last, MaxTimestamp: e.MaxTimestamp, SourceMs: e.SourceMs,
		Position: e.Position, Length: e.Length, IndexLength: e.IndexLength, CRC: e.CRC, Records: e.Records, Epoch: e.Epoch,
	}
	if o == nil {
		m.Seq = e.Object.Seq
	}
	return m
}

// mergedObjectOf is the object of a merged extent.
func mergedObjectOf(e *Extent) *mergedObject {
	o := &mergedObject{id: e.Object.Object, base: -1, sha256: e.SHA256, builtMs: e.BuiltMs, size: e.Size}
	if e.Object.Own() {
		o.base = e.Object.Base
	}
	return o
}

// implausible returns why there cannot be such an extent below the place up to which a
// partition is merged, or nothing. Unlike a ref, it does not depend on the extent before.
func (e *Extent) implausible() string {
	switch {
	case e.Base < 0 || e.Last < e.Base || e.Last > maxOffset:
		return fmt.Sprintf("offsets from %d to %d", e.Base, e.Last)
	case e.MaxTimestamp < -1:
		return fmt.Sprintf("max timestamp %d", e.MaxTimestamp)
	case e.Length == 0:
		return "no bytes"
	case !e.merged():
		if e.Object.Seq == 0 || e.Epoch < 1 || e.IndexLength != 0 {
			return fmt.Sprintf("a range of seq %d in leader epoch %d with an index of %d bytes", e.Object.Seq, e.Epoch, e.IndexLength)
		}
	case e.Object.Object.IsZero() || e.Object.Base > e.Base || e.Epoch != 0 || e.IndexLength == 0:
		return fmt.Sprintf("a range of %s from offset %d on in leader epoch %d with an index of %d bytes", e.Object.Key(), e.Base, e.Epoch, e.IndexLength)
	case uint64(e.Position)+uint64(e.Length)+uint64(e.IndexLength) > uint64(e.Size):
		return fmt.Sprintf("%d bytes and an index of %d at position %d in %d bytes", e.Length, e.IndexLength, e.Position, e.Size)
	}
	return ""
}

// appendMerged writes the object of a merged extent:
//
//	 0 16  object id
//	16  8  base offset in the key; -1 if the segment is shared
//	24 32  SHA-256 of the object
//	56  8  time it was built, Unix milliseconds
//	64  4  bytes
func appendMerged(w *wire.Writer, e *Extent) { mergedObjectOf(e).append(w) }

func (o *mergedObject) append(w *wire.Writer) {
	w.ID(o.id)
	w.I64(o.base)
	w.Raw(o.sha256[:])
	w.I64(o.builtMs)
	w.U32(o.size)
}

func readMerged(r *wire.Reader) mergedObject {
	o := mergedObject{id: r.ID(), base: r.I64()}
	copy(o.sha256[:], r.Raw(len(o.sha256)))
	o.builtMs, o.size = r.I64(), r.U32()
	if r.Err() == nil && o.base < -1 {
		o.id = segment.ID{} // implausible
	}
	return o
}

// appendPiece writes an extent but for its object:
//
//	 0  4  number of its object; 4294967295 if it is of a journal object
//	 4  8  seq of that journal object, or zero
//	12  8  first offset
//	20  8  last offset
//	28  8  max timestamp, Unix milliseconds; -1 if it is not known
//	36  8  time that the newest of its sources was built, Unix milliseconds
//	44  4  position
//	48  4  length
//	52  4  length of the index that follows; zero in a journal object
//	56  4  CRC-32C of the bytes
//	60  4  records; 4294967295 if there are more
//	64  4  leader epoch of the batches of a journal object, or zero
func appendPiece(w *wire.Writer, number uint32, e *Extent) {
	m := mergedRefOf(e, nil)
	m.append(w, number)
}

func (m *mergedRef) append(w *wire.Writer, number uint32) {
	w.U32(number)
	w.U64(m.Seq)
	w.I64(m.Base)
	w.I64(m.Last)
	w.I64(m.MaxTimestamp)
	w.I64(m.SourceMs)
	w.U32(m.Position)
	w.U32(m.Length)
	w.U32(m.IndexLength)
	w.U32(m.CRC)
	w.U32(m.Records)
	w.I32(m.Epoch)
}

// readPiece is the inverse of appendPiece. The ref has no object yet.
func readPiece(r *wire.Reader) (number uint32, m mergedRef) {
	number = r.U32()
	m = mergedRef{
		Seq: r.U64(), Base: r.I64(), Last: r.I64(), MaxTimestamp: r.I64(), SourceMs: r.I64(),
		Position: r.U32(), Length: r.U32(), IndexLength: r.U32(), CRC: r.U32(), Records: r.U32(), Epoch: r.I32(),
	}
	return number, m
}
