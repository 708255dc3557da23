package objstore

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Body is the bytes of a new object, which the caller of Create lends to the store: Bytes
// in memory, or Length bytes of Source.
type Body struct {
	Bytes []byte

	// Source, unless nil, stands in place of Bytes: a large object is sent from a file,
	// and is never in memory as a whole. Its CRC must be known. A driver reads it from
	// the beginning to the end, once. An error of Source makes the Create fail.
	Source io.ReaderAt
	Length int64 // of Source, in bytes

	// CRC is the CRC-32C of the bytes, if CRCKnown. The store then protects the bytes
	// with it on their way, and does not read them only to compute it. A wrong one makes
	// the Create fail in a store that checks.
	CRC      uint32
	CRCKnown bool

	// Release, unless nil, is called exactly once for each Create, also for one that
	// fails before it sends anything. From then on neither the driver nor its transport
	// reads Bytes or Source. It is called on any goroutine, before or after Create
	// returns, and must not block.
	Release func()
}

// Plain is a Body of bytes that are never changed again.
func Plain(data []byte) Body { return Body{Bytes: data} }

// Size returns how many bytes there are.
func (b Body) Size() int64 {
	if b.Source != nil {
		return b.Length
	}
	return int64(len(b.Bytes))
}

// Reader returns a reader of the bytes, from the first one.
func (b Body) Reader() io.ReadSeeker {
	if b.Source != nil {
		return io.NewSectionReader(b.Source, 0, b.Length)
	}
	return bytes.NewReader(b.Bytes)
}

// Sum returns the CRC-32C of the bytes. It reads them only if it is not known.
func (b Body) Sum() uint32 {
	if b.CRCKnown {
		return b.CRC
	}
	return crc32.Checksum(b.Bytes, castagnoli)
}

// CheckSum returns an error if the known CRC is not that of the bytes.
func (b Body) CheckSum() error {
	if !b.CRCKnown {
		return nil
	}
	c := b.Checked()
	_, err := io.Copy(io.Discard, c)
	return err
}

// Checked returns a reader of the bytes that compares them with their length and their
// CRC. At the end it fails if they differ, in place of io.EOF.
func (b Body) Checked() io.Reader {
	return &checked{body: b, from: b.Reader(), sum: crc32.New(castagnoli)}
}

type checked struct {
	body Body
	from io.Reader
	sum  hash.Hash32
	read int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	c.read += int64(n)
	if err != io.EOF {
		return n, err
	}
	if size := c.body.Size(); c.read != size {
		return n, fmt.Errorf("%d bytes where the body has %d", c.read, size)
	}
	if sum := c.sum.Sum32(); c.body.CRCKnown && sum != c.body.CRC {
		return n, fmt.Errorf("%d bytes have CRC-32C %08x, and not the known %08x", c.read, sum, c.body.CRC)
	}
	return n, io.EOF
}

// Whole returns all bytes: Bytes themselves, or those of Source in new memory. It is for
// stores in memory.
func (b Body) Whole() ([]byte, error) {
	if b.Source == nil {
		return b.Bytes, nil
	}
	data := make([]byte, b.Length)
	_, err := io.ReadFull(b.Reader(), data)
	return data, err
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
