package segment

import "github.com/varvelog/varve/tiering/wire"

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
	return encodeSmall(clusterObject, KindCluster, clusterSize, &c, func(w *wire.Writer) {
		w.ID(c.ID)
		w.U16(c.Format)
		w.U8(c.Window)
		w.Zeros(5)
		w.I64(c.CreatedMs)
		w.Zeros(clusterReserved)
	})
}

// DecodeCluster decodes a whole cluster object.
func DecodeCluster(b []byte) (Cluster, error) {
	var c Cluster
	err := decodeSmall(clusterObject, KindCluster, b, &c, func(r *wire.Reader) {
		c = Cluster{ID: r.ID(), Format: r.U16(), Window: r.U8()}
		r.Zeros(5)
		c.CreatedMs = r.I64()
		r.Zeros(clusterReserved)
	})
	if err != nil {
		return Cluster{}, err
	}
	return c, nil
}

func (c *Cluster) implausible() string {
	if c.ID.IsZero() || c.Format == 0 || c.Window == 0 {
		return "id, format or window is zero"
	}
	return ""
}
