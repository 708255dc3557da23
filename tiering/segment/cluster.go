package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/wire"
)

// Cluster is the root object of a bucket, written once.
type Cluster struct {
	ID        ID
	Format    uint16 // feature level the cluster began with, from 1
	Window    uint8  // P of the journal protocol: how many seqs may be under way, from 1
	CreatedMs int64  // creator's clock, Unix milliseconds
}

const (
	clusterObject   = "cluster object"
	clusterSize     = 64
	clusterReserved = 20
)

// EncodeCluster returns the cluster object:
//
//	 0   8  magic "VARV", version, kind 5, zero
//	 8  16  cluster id
//	24   2  format
//	26   1  window
//	27   5  zero
//	32   8  created, Unix milliseconds
//	40  20  zero
//	60   4  CRC-32C of the bytes before
func EncodeCluster(c Cluster) ([]byte, error) {
	if reason := c.implausible(); reason != "" {
		return nil, fmt.Errorf("encode cluster: %w", invalid("%s", reason))
	}
	w := wire.Writer{B: make([]byte, 0, clusterSize)}
	appendPrologue(&w, KindCluster)
	w.ID(c.ID)
	w.U16(c.Format)
	w.U8(c.Window)
	w.Zeros(5)
	w.I64(c.CreatedMs)
	w.Zeros(clusterReserved)
	w.U32(checksum(w.B))
	return w.B, nil
}

// DecodeCluster decodes a whole cluster object.
func DecodeCluster(b []byte) (Cluster, error) {
	r, err := openSmall(clusterObject, KindCluster, b)
	if err != nil {
		return Cluster{}, err
	}
	c := Cluster{ID: r.ID(), Format: r.U16(), Window: r.U8()}
	r.Zeros(5)
	c.CreatedMs = r.I64()
	r.Zeros(clusterReserved)
	if err := r.Close(); err != nil {
		return Cluster{}, corrupt(clusterObject, prologueSize+r.Pos(), "%v", err)
	}
	if reason := c.implausible(); reason != "" {
		return Cluster{}, corrupt(clusterObject, 0, "%s", reason)
	}
	return c, nil
}

func (c *Cluster) implausible() string {
	if c.ID.IsZero() || c.Format == 0 || c.Window == 0 {
		return "id, format or window is zero"
	}
	return ""
}

// openSmall checks prologue and CRC of an object that ends with its CRC, and
// returns a Reader of the bytes between them.
func openSmall(object string, kind Kind, b []byte) (*wire.Reader, error) {
	got, err := prologue(object, 0, b)
	if err != nil {
		return nil, err
	}
	end := len(b) - 4
	if end < prologueSize {
		return nil, corrupt(object, 0, "%d bytes, cut short", len(b))
	}
	if checksum(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return nil, corrupt(object, end, "CRC mismatch")
	}
	if got != kind {
		return nil, wrongKind(object, 0, got)
	}
	if b[prologueSize-1] != 0 {
		return nil, corrupt(object, prologueSize-1, "reserved byte is not zero")
	}
	return wire.NewReader(b[prologueSize:end]), nil
}
