package segment

import (
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

// Floor is the lowest seq of a journal that a reader may start from, with the
// checkpoint that covers everything below it.
type Floor struct {
	Journal    uint32
	N          uint64   // number of the floor object, from 1
	Floor      uint64   // seq, from 1
	Checkpoint string   // key of the checkpoint, relative to the store's prefix
	Hash       [32]byte // of the checkpoint's bytes
	Object     ID
	Cluster    ID
}

const (
	floorObject    = "floor object"
	floorFixedSize = 112
	floorReserved  = 14
)

// EncodeFloor returns the floor object:
//
//	  0   8  magic "VARV", version, kind 4, zero
//	  8  16  cluster id
//	 24  16  object id
//	 40   4  journal
//	 44   4  zero
//	 48   8  number of the floor object
//	 56   8  floor
//	 64  32  hash of the checkpoint
//	 96  14  zero
//	110   2  length of the checkpoint's key
//	112      the key
//	      4  CRC-32C of the bytes before
func EncodeFloor(f Floor) ([]byte, error) {
	return encodeSmall(floorObject, KindFloor, floorFixedSize+len(f.Checkpoint)+4, &f, func(w *wire.Writer) {
		w.ID(f.Cluster)
		w.ID(f.Object)
		w.U32(f.Journal)
		w.Zeros(4)
		w.U64(f.N)
		w.U64(f.Floor)
		w.Raw(f.Hash[:])
		w.Zeros(floorReserved)
		w.String16(f.Checkpoint)
	})
}

// DecodeFloor decodes a whole floor object.
func DecodeFloor(b []byte) (Floor, error) {
	var f Floor
	err := decodeSmall(floorObject, KindFloor, b, &f, func(r *wire.Reader) {
		f = Floor{Cluster: r.ID(), Object: r.ID(), Journal: r.U32()}
		r.Zeros(4)
		f.N, f.Floor = r.U64(), r.U64()
		copy(f.Hash[:], r.Raw(len(f.Hash)))
		r.Zeros(floorReserved)
		f.Checkpoint = r.String16()
	})
	if err != nil {
		return Floor{}, err
	}
	return f, nil
}

func (f *Floor) implausible() string {
	switch {
	case f.Cluster.IsZero() || f.Object.IsZero():
		return "cluster or object is zero"
	case f.N == 0 || f.Floor == 0:
		return "number or floor is zero"
	case f.Checkpoint == "" || len(f.Checkpoint) > MaxKeySize:
		return fmt.Sprintf("key of the checkpoint has %d bytes, must have from 1 to %d", len(f.Checkpoint), MaxKeySize)
	case f.Hash == [32]byte{}:
		return "hash of the checkpoint is zero"
	}
	return ""
}
