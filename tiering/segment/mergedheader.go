package segment

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/varvelog/varve/tiering/wire"
)

const mergedHeaderObject = "header of a merged segment"

// appendMergedHeader writes the header, MergedHeaderSize bytes:
//
//	  0   8  magic "VARV", version, kind 8, zero
//	  8  16  cluster id
//	 24  16  object id
//	 40  16  job id
//	 56  16  node
//	 72  16  incarnation
//	 88   4  journal
//	 92   4  zero
//	 96  16  topic id of an own segment, else zero
//	112   4  its index
//	116   8  its first covered offset
//	124   8  built, Unix milliseconds
//	132   8  zero
//	140   4  CRC-32C of the bytes before
func appendMergedHeader(w *wire.Writer, h *MergedHeader) {
	start := len(w.B)
	appendPrologue(w, KindMerged)
	w.ID(h.Cluster)
	w.ID(h.Name.Object)
	w.ID(h.Job)
	w.ID(h.Node)
	w.ID(h.Incarnation)
	w.U32(h.Journal)
	w.Zeros(4)
	w.ID(h.Name.Topic)
	w.I32(h.Name.Partition)
	w.I64(h.Name.Base)
	w.I64(h.BuiltMs)
	w.Zeros(8)
	w.U32(checksum(w.B[start:]))
}

// DecodeMergedHeader decodes the first MergedHeaderSize bytes of a merged segment; b may
// be longer.
func DecodeMergedHeader(b []byte) (MergedHeader, error) {
	kind, err := prologue(mergedHeaderObject, 0, b)
	if err != nil {
		return MergedHeader{}, err
	}
	if len(b) < MergedHeaderSize {
		return MergedHeader{}, corrupt(mergedHeaderObject, 0, "%d bytes, must have %d", len(b), MergedHeaderSize)
	}
	b = b[:MergedHeaderSize]
	end := MergedHeaderSize - 4
	if checksum(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return MergedHeader{}, corrupt(mergedHeaderObject, end, "CRC mismatch")
	}
	if kind != KindMerged {
		return MergedHeader{}, wrongKind(mergedHeaderObject, 0, kind)
	}
	r := wire.NewReader(b[prologueSize-1 : end])
	r.Zeros(1)
	h := MergedHeader{Cluster: r.ID()}
	object := r.ID()
	h.Job, h.Node, h.Incarnation, h.Journal = r.ID(), r.ID(), r.ID(), r.U32()
	r.Zeros(4)
	h.Name = OwnSegment(r.ID(), r.I32(), r.I64(), object)
	if !h.Name.Own() {
		h.Name.Journal = h.Journal
	}
	h.BuiltMs = r.I64()
	r.Zeros(8)
	if err := r.Close(); err != nil {
		return MergedHeader{}, corrupt(mergedHeaderObject, prologueSize-1+r.Pos(), "%v", err)
	}
	if reason := h.implausible(); reason != "" {
		return MergedHeader{}, corrupt(mergedHeaderObject, 0, "%s", reason)
	}
	return h, nil
}

// implausible returns why no header can be like this, or "".
func (h *MergedHeader) implausible() string {
	n := h.Name
	switch {
	case h.Cluster.IsZero() || h.Job.IsZero() || h.Node.IsZero() || h.Incarnation.IsZero() || n.Object.IsZero():
		return "cluster, object, job, node or incarnation is zero"
	case n.Own() && (n.Partition < 0 || n.Base < 0 || n.Base == math.MaxInt64):
		return fmt.Sprintf("own segment of partition %d from offset %d on", n.Partition, n.Base)
	case !n.Own() && n != SharedSegment(h.Journal, n.Object):
		return fmt.Sprintf("%+v does not name a shared segment of journal %d", n, h.Journal)
	case n.Own() && n != OwnSegment(n.Topic, n.Partition, n.Base, n.Object):
		return fmt.Sprintf("%+v does not name an own segment", n)
	}
	return ""
}
