package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

// Blob is an object whose payload only a journal's own state machine
// understands: a checkpoint or an index page.
type Blob struct {
	Kind    Kind // KindCheckpoint or KindIndex
	Cluster ID
	Object  ID
	Journal uint32
	Seq     uint64 // the last seq that it covers
	Payload []byte
}

const (
	// BlobHeaderSize is where the payload of a blob starts, in bytes.
	BlobHeaderSize = 80

	blobObject = "checkpoint or index object"
)

// MaxBlobSize limits a checkpoint or index object, in bytes.
const MaxBlobSize = 256 << 20

// EncodeBlob returns the object:
//
//	 0   8  magic "VARV", version, kind 6 or 7, zero
//	 8  16  cluster id
//	24  16  object id
//	40   4  journal
//	44   4  CRC-32C of the payload
//	48   8  seq
//	56   8  length of the payload
//	64  12  zero
//	76   4  CRC-32C of the bytes before
//	80      payload
func EncodeBlob(b Blob) ([]byte, error) {
	if reason := b.implausible(); reason != "" {
		return nil, fmt.Errorf("encode %s: %w", blobObject, invalid("%s", reason))
	}
	w := wire.Writer{B: make([]byte, 0, BlobHeaderSize+len(b.Payload))}
	appendPrologue(&w, b.Kind)
	w.ID(b.Cluster)
	w.ID(b.Object)
	w.U32(b.Journal)
	w.U32(checksum(b.Payload))
	w.U64(b.Seq)
	w.U64(uint64(len(b.Payload)))
	w.Zeros(12)
	w.U32(checksum(w.B))
	w.Raw(b.Payload)
	return w.B, w.Err()
}

// DecodeBlob decodes a whole checkpoint or index object. The payload aliases data.
func DecodeBlob(kind Kind, data []byte) (Blob, error) {
	got, err := prologue(blobObject, 0, data)
	if err != nil {
		return Blob{}, err
	}
	if len(data) < BlobHeaderSize || len(data) > MaxBlobSize {
		return Blob{}, corrupt(blobObject, 0, "%d bytes, must have from %d to %d", len(data), BlobHeaderSize, MaxBlobSize)
	}
	if end := BlobHeaderSize - 4; checksum(data[:end]) != binary.BigEndian.Uint32(data[end:]) {
		return Blob{}, corrupt(blobObject, end, "CRC mismatch of the header")
	}
	if got != kind {
		return Blob{}, wrongKind(blobObject, 0, got)
	}
	r := wire.NewReader(data[prologueSize-1 : BlobHeaderSize-4])
	r.Zeros(1)
	b := Blob{Kind: kind, Cluster: r.ID(), Object: r.ID(), Journal: r.U32(), Payload: data[BlobHeaderSize:]}
	sum := r.U32()
	b.Seq = r.U64()
	length := r.U64()
	r.Zeros(12)
	if err := r.Close(); err != nil {
		return Blob{}, corrupt(blobObject, prologueSize+r.Pos(), "%v", err)
	}
	if length != uint64(len(b.Payload)) || checksum(b.Payload) != sum {
		return Blob{}, corrupt(blobObject, BlobHeaderSize, "payload of %d bytes is not the one of %d bytes that was stored", len(b.Payload), length)
	}
	if reason := b.implausible(); reason != "" {
		return Blob{}, corrupt(blobObject, 0, "%s", reason)
	}
	return b, nil
}

func (b *Blob) implausible() string {
	switch {
	case b.Kind != KindCheckpoint && b.Kind != KindIndex:
		return fmt.Sprintf("kind %d is neither checkpoint nor index", b.Kind)
	case b.Cluster.IsZero() || b.Object.IsZero():
		return "cluster or object is zero"
	case b.Seq == 0:
		return "seq is zero"
	case len(b.Payload) > MaxBlobSize-BlobHeaderSize:
		return fmt.Sprintf("payload of %d bytes", len(b.Payload))
	}
	return ""
}
