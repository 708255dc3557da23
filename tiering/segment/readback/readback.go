// Package readback reads merged segments for the comparison with their sources, before
// readers may depend on them.
//
// It owns a second decoder of merged segments, record batches and records, which was
// written from tiering/segment/FORMAT.md. It shares no code with the writer, nor with the
// decoders of segment and batch, so that a mistake in one of them shows as a difference.
// Only the libraries that decompress are the same.
//
// It promises that each byte of an object is checked against a CRC, and that batches are
// read once, in large pieces. A Sum of batches that are copied depends on each of their
// bytes. A Sum of records depends on each record: offset, timestamp, key, value, headers,
// leader epoch, producer and sequence. It does not depend on how records are grouped in
// batches, or compressed. Memory is bounded by the largest batch and a few windows.
//
// It never repairs, and does not know which records a segment should have: the caller
// compares.
package readback

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"math"
)

// ErrWrong is an object, or batches, that cannot be right. Other errors are those of the
// io.ReaderAt or of the context.
var ErrWrong = errors.New("read back wrong")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrWrong, fmt.Sprintf(format, args...))
}

// Sum stands for a set of records and of batches that count as their bytes. Two Sums of one
// Reader are equal if the sets are.
type Sum struct {
	Records uint64
	Raw     uint64 // batches that count as their bytes
	Hash    uint64
}

// Add adds other records.
func (s *Sum) Add(t Sum) {
	s.Records += t.Records
	s.Raw += t.Raw
	s.Hash += t.Hash
}

// Reader reads batches and objects. Its Sums can be compared with each other, and with those
// of Another. It must not be used by two goroutines at once.
type Reader struct {
	hash   maphash.Hash
	choice choice
	codecs codecs
	input  input
	window window
}

// New returns a Reader with a random seed.
func New() *Reader {
	var r Reader
	r.hash.Seed() // chosen now
	return &r
}

// Another returns a Reader for another goroutine. Its Sums can be compared with those of r.
func (r *Reader) Another() *Reader {
	var other Reader
	other.hash.SetSeed(r.hash.Seed())
	return &other
}

// Batch reads one batch, which b holds and no more. The Sum has its records, or the batch
// as its bytes if they cannot be decoded. The greatest timestamp of the records is returned,
// too: -1 if none has one, Unknown if they cannot be decoded.
func (r *Reader) Batch(ctx context.Context, b []byte) (Sum, int64, error) {
	h, err := parseOne(b)
	if err != nil {
		return Sum{}, 0, err
	}
	return r.batch(ctx, b, &h)
}

// Verbatim is the Sum of one batch as its bytes, which b holds and no more. Its records are
// not decoded.
func (r *Reader) Verbatim(b []byte) (Sum, error) {
	h, err := parseOne(b)
	if err != nil {
		return Sum{}, err
	}
	return r.bytes(b, &h), nil
}

// Unknown is the greatest timestamp of records that cannot be decoded.
const Unknown = math.MaxInt64

func (r *Reader) batch(ctx context.Context, b []byte, h *batchHeader) (Sum, int64, error) {
	if h.records == 0 {
		return Sum{}, -1, nil
	}
	sum, newest, err := r.records(ctx, b[batchHeaderSize:], h)
	switch {
	case ctx.Err() != nil:
		return Sum{}, 0, context.Cause(ctx)
	case err != nil: // the merger copies such a batch as it is
		return r.bytes(b, h), Unknown, nil
	}
	return sum, newest, nil
}

// bytes is the Sum of a batch as its bytes.
func (r *Reader) bytes(b []byte, h *batchHeader) Sum {
	r.hash.Reset()
	r.hash.WriteString("batch")
	r.hash.Write(b)
	return Sum{Records: uint64(h.records), Raw: 1, Hash: r.hash.Sum64()}
}

// verbatim is bytes, with the time that batch returns. Records are decoded only if the
// header does not name their time.
func (r *Reader) verbatim(ctx context.Context, b []byte, h *batchHeader) (sum Sum, newest int64, err error) {
	newest = h.most
	if h.records == 0 || !h.timed() {
		_, newest, err = r.batch(ctx, b, h)
	}
	return r.bytes(b, h), newest, err
}

const (
	batchHeaderSize = 61
	maxBatch        = 64 << 20 // bytes: no journal object is larger

	bitAppendTime = 1 << 3
	codecBits     = 7
)

// batchHeader has the fields of a record batch of magic 2.
type batchHeader struct {
	base        int64
	length      uint32 // of the bytes after this field
	epoch       int32
	attributes  uint16
	lastDelta   int32
	first, most int64 // base and max timestamp
	producer    int64
	prodEpoch   uint16
	sequence    int32
	records     int32
}

func (h *batchHeader) size() int   { return 12 + int(h.length) }
func (h *batchHeader) last() int64 { return h.base + int64(h.lastDelta) }

// timed reports whether the max timestamp of the header can be trusted. Older programs
// stored -1, or the time of the first record.
func (h *batchHeader) timed() bool {
	return h.attributes&bitAppendTime != 0 || h.most > h.first || h.most == h.first && h.records == 1
}

// parseOne is parseBatch for a batch that b holds and no more.
func parseOne(b []byte) (batchHeader, error) {
	h, err := parseBatch(b)
	if err == nil && h.size() != len(b) {
		err = wrong("a batch of %d bytes in %d", h.size(), len(b))
	}
	return h, err
}

// parseBatch reads the batch that starts b, and checks its CRC.
func parseBatch(b []byte) (batchHeader, error) {
	size, err := batchSize(b)
	if err != nil {
		return batchHeader{}, err
	}
	if size > len(b) {
		return batchHeader{}, wrong("a batch of %d bytes, %d are left", size, len(b))
	}
	be := binary.BigEndian
	h := batchHeader{
		base: int64(be.Uint64(b)), length: be.Uint32(b[8:]), epoch: int32(be.Uint32(b[12:])),
		attributes: be.Uint16(b[21:]), lastDelta: int32(be.Uint32(b[23:])),
		first: int64(be.Uint64(b[27:])), most: int64(be.Uint64(b[35:])),
		producer: int64(be.Uint64(b[43:])), prodEpoch: be.Uint16(b[51:]), sequence: int32(be.Uint32(b[53:])),
		records: int32(be.Uint32(b[57:])),
	}
	switch {
	case crc32.Checksum(b[21:size], castagnoli) != be.Uint32(b[17:]):
		return batchHeader{}, wrong("the batch at offset %d fails its CRC", h.base)
	case h.base < 0 || h.lastDelta < 0 || h.base > math.MaxInt64-1-int64(h.lastDelta):
		return batchHeader{}, wrong("a batch from offset %d on has last offset delta %d", h.base, h.lastDelta)
	case h.records < 0 || int64(h.records) > int64(h.lastDelta)+1:
		return batchHeader{}, wrong("the batch at offset %d has %d records at %d offsets", h.base, h.records, int64(h.lastDelta)+1)
	}
	return h, nil
}

// batchSize returns the size of the batch whose header starts b.
func batchSize(b []byte) (int, error) {
	if len(b) < batchHeaderSize {
		return 0, wrong("%d bytes are no batch", len(b))
	}
	length := binary.BigEndian.Uint32(b[8:])
	if b[16] != 2 || length < batchHeaderSize-12 || length > maxBatch {
		return 0, wrong("a batch of magic %d has length %d", b[16], length)
	}
	return 12 + int(length), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
