package objstore

import (
	"context"
	"fmt"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Body is the bytes of a new object, which the caller of Create lends to the store.
type Body struct {
	Bytes []byte

	// CRC is the CRC-32C of Bytes, if CRCKnown. The store then protects the bytes with
	// it on their way, and does not read them only to compute it. A wrong one makes
	// the Create fail in a store that checks.
	CRC      uint32
	CRCKnown bool

	// Release, unless nil, is called exactly once for each Create, also for one that
	// fails before it sends anything. From then on neither the driver nor its transport
	// reads Bytes. It is called on any goroutine, before or after Create returns, and
	// must not block.
	Release func()
}

// Plain is a Body of bytes that are never changed again.
func Plain(data []byte) Body { return Body{Bytes: data} }

// Sum returns the CRC-32C of the bytes. It reads them only if it is not known.
func (b Body) Sum() uint32 {
	if b.CRCKnown {
		return b.CRC
	}
	return crc32.Checksum(b.Bytes, castagnoli)
}

// CheckSum returns an error if the known CRC is not that of the bytes.
func (b Body) CheckSum() error {
	if sum := crc32.Checksum(b.Bytes, castagnoli); b.CRCKnown && b.CRC != sum {
		return fmt.Errorf("%d bytes have CRC-32C %08x, and not the known %08x", len(b.Bytes), sum, b.CRC)
	}
	return nil
}

// Done gives the bytes back to the caller of Create. A driver calls it once.
func (b Body) Done() {
	if b.Release != nil {
		b.Release()
	}
}

// ReadRange is GetRange into new memory.
func ReadRange(ctx context.Context, store Store, key string, offset, length int64) ([]byte, error) {
	if err := CheckRange(key, offset, length); err != nil {
		return nil, err
	}
	dst := make([]byte, length)
	if err := store.GetRange(ctx, key, offset, dst); err != nil {
		return nil, err
	}
	return dst, nil
}
