package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

const (
	posHeaderCRC   = HeaderSize - 4
	headerReserved = 28
)

// appendHeader writes the header, HeaderSize bytes:
//
//	  0   4  magic "VARV"
//	  4   2  version
//	  6   1  kind
//	  7   1  zero
//	  8  16  cluster id
//	 24  16  object id
//	 40   4  journal
//	 44   4  epoch
//	 48   8  seq
//	 56   8  seq of the previous valid object
//	 64  16  its object id
//	 80   8  confirmed
//	 88  16  node
//	104  16  incarnation
//	120   8  built, Unix milliseconds
//	128  16  write-ahead incarnation
//	144   8  write-ahead from
//	152   8  write-ahead to
//	160  28  zero
//	188   4  CRC-32C of the bytes before
func appendHeader(w *wire.Writer, h Header) {
	start := len(w.B)
	appendPrologue(w, h.Kind)
	w.ID(h.Cluster)
	w.ID(h.Object)
	w.U32(h.Journal)
	w.U32(h.Epoch)
	w.U64(h.Seq)
	w.U64(h.Prev.Seq)
	w.ID(h.Prev.Object)
	w.U64(h.Confirmed)
	w.ID(h.Node)
	w.ID(h.Incarnation)
	w.I64(h.BuiltMs)
	w.ID(h.WAL.Incarnation)
	w.U64(h.WAL.From)
	w.U64(h.WAL.To)
	w.Zeros(headerReserved)
	w.U32(checksum(w.B[start:]))
}

func appendPrologue(w *wire.Writer, kind Kind) {
	w.Raw([]byte(magic))
	w.U16(Version)
	w.U8(uint8(kind))
	w.U8(0)
}

// DecodeHeader decodes the first HeaderSize bytes of a journal object; b may be
// longer.
func DecodeHeader(b []byte) (Header, error) {
	return decodeHeader("header of a journal object", 0, b)
}

// decodeHeader decodes a header at offset of an object.
func decodeHeader(object string, offset int, b []byte) (Header, error) {
	kind, err := prologue(object, offset, b)
	if err != nil {
		return Header{}, err
	}
	if len(b) < HeaderSize {
		return Header{}, corrupt(object, offset, "%d bytes, a header has %d", len(b), HeaderSize)
	}
	b = b[:HeaderSize]
	if checksum(b[:posHeaderCRC]) != binary.BigEndian.Uint32(b[posHeaderCRC:]) {
		return Header{}, corrupt(object, offset, "CRC mismatch")
	}
	if kind != KindData && kind != KindFence && kind != KindFiller {
		return Header{}, wrongKind(object, offset, kind)
	}
	r := wire.NewReader(b[prologueSize-1 : posHeaderCRC])
	r.Zeros(1)
	h := Header{
		Kind:        kind,
		Cluster:     r.ID(),
		Object:      r.ID(),
		Journal:     r.U32(),
		Epoch:       r.U32(),
		Seq:         r.U64(),
		Prev:        Ref{Seq: r.U64(), Object: r.ID()},
		Confirmed:   r.U64(),
		Node:        r.ID(),
		Incarnation: r.ID(),
		BuiltMs:     r.I64(),
		WAL:         WALRange{Incarnation: r.ID(), From: r.U64(), To: r.U64()},
	}
	r.Zeros(headerReserved)
	if err := r.Close(); err != nil {
		return Header{}, corrupt(object, offset, "%v", err)
	}
	if reason := h.implausible(); reason != "" {
		return Header{}, corrupt(object, offset, "%s", reason)
	}
	return h, nil
}

// implausible returns why no header can be like this, or "".
func (h *Header) implausible() string {
	switch {
	case h.Kind != KindData && h.Kind != KindFence && h.Kind != KindFiller:
		return fmt.Sprintf("kind %d is not one of a journal object", h.Kind)
	case h.Cluster.IsZero() || h.Object.IsZero() || h.Node.IsZero() || h.Incarnation.IsZero():
		return "cluster, object, node or incarnation is zero"
	case h.Epoch == 0 || h.Seq == 0:
		return "epoch or seq is zero"
	case h.Prev.Seq >= h.Seq:
		return fmt.Sprintf("previous seq %d is not below seq %d", h.Prev.Seq, h.Seq)
	case (h.Prev.Seq == 0) != h.Prev.Object.IsZero():
		return "previous object has only one of seq and id"
	case h.Confirmed >= h.Seq:
		return fmt.Sprintf("confirmed seq %d is not below seq %d", h.Confirmed, h.Seq)
	case h.WAL.From > h.WAL.To:
		return fmt.Sprintf("write-ahead range from %d to %d", h.WAL.From, h.WAL.To)
	case h.WAL.Incarnation.IsZero() && h.WAL != (WALRange{}):
		return "write-ahead range without an incarnation"
	case h.Kind != KindData && h.WAL != (WALRange{}):
		return "write-ahead range in an object without records"
	}
	return ""
}
