package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Bounds on what records may expand to, besides the caller's. gzip cannot exceed
// 1032:1 and lz4 255:1; only zstd can, on data that says nothing. Producers fill
// batches by their uncompressed size, 1 MiB at most by default, so the floor
// leaves room for any batch of theirs.
const (
	maxRatio   = 1024
	ratioFloor = 16 << 20
)

// maxZstdWindow is what zstd's own encoders reach at their highest level, which
// clients may choose (KIP-390). A window costs no memory here: records are
// decoded in one piece, so the output is the window.
const maxZstdWindow = 128 << 20

// growBy is how much more room a decoder gets when its output does not fit.
const growBy = 4

// expandLimit is the most that n compressed bytes of honest records expand to.
func expandLimit(n int) int { return int(max(ratioFloor, min(maxRatio*int64(n), math.MaxInt32))) }

// decompress returns the uncompressed records; it is src itself if they are not
// compressed. Not more than maxBytes and expandLimit bytes come out, and no more
// than a few times that is allocated, whatever src announces.
func decompress(codec Codec, src []byte, maxBytes int) ([]byte, error) {
	limit := max(0, min(maxBytes, expandLimit(len(src))))
	switch codec {
	case None:
		if len(src) > maxBytes {
			return nil, tooMuch(maxBytes)
		}
		return src, nil
	case Gzip:
		return gunzip(src, limit)
	case Snappy:
		return unsnappy(src, limit)
	case LZ4:
		return unlz4(src, limit)
	case Zstd:
		return unzstd(src, limit)
	}
	return nil, ErrCodec
}

func tooMuch(limit int) error { return fmt.Errorf("%w of %d bytes", ErrDecompress, limit) }

func badStream(err error) error { return fmt.Errorf("%w: %w", ErrCorruptBatch, err) }

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

func gunzip(src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, badStream(err)
	}
	return readAll(r, len(src), limit)
}

var lz4Readers = sync.Pool{New: func() any { return lz4.NewReader(nil) }}

// lz4Magic starts an LZ4 frame. The library would also read other formats, which
// no Kafka client writes or reads.
const lz4Magic = "\x04\x22\x4d\x18"

func unlz4(src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, []byte(lz4Magic)) {
		return nil, badStream(errors.New("no lz4 frame"))
	}
	r := lz4Readers.Get().(*lz4.Reader)
	defer lz4Readers.Put(r)
	r.Reset(bytes.NewReader(src))
	return readAll(r, len(src), limit)
}

// readAll reads r to its end, growing with what was read.
func readAll(r io.Reader, compressed, limit int) ([]byte, error) {
	out := make([]byte, 0, firstGuess(compressed, limit))
	for {
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, badStream(err)
		case len(out) < cap(out):
			continue
		}
		if len(out) >= limit {
			return out, atEnd(r, limit)
		}
		grown := make([]byte, len(out), min(limit, growBy*cap(out)))
		copy(grown, out)
		out = grown
	}
}

// atEnd returns nil if r has nothing more to give.
func atEnd(r io.Reader, limit int) error {
	for {
		var one [1]byte
		switch n, err := r.Read(one[:]); {
		case n > 0:
			return tooMuch(limit)
		case err == io.EOF:
			return nil
		case err != nil:
			return badStream(err)
		}
	}
}

func firstGuess(compressed, limit int) int { return min(limit, max(4<<10, growBy*compressed)) }

// xerialMagic starts the framing of snappy-java, which Java clients and those
// like them use; others send a bare block. After it come a version and the
// lowest compatible version, and then blocks with 32-bit lengths.
const (
	xerialMagic  = "\x82SNAPPY\x00"
	xerialHeader = len(xerialMagic) + 8
)

func unsnappy(src []byte, limit int) ([]byte, error) {
	if len(src) < xerialHeader || !bytes.HasPrefix(src, []byte(xerialMagic)) {
		return appendSnappy(nil, src, limit)
	}
	out := make([]byte, 0, firstGuess(len(src), limit))
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, badStream(errors.New("snappy block length is cut short"))
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return nil, badStream(errors.New("snappy block is cut short"))
		}
		var err error
		if out, err = appendSnappy(out, src[:n], limit); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return out, nil
}

// maxSnappyRatio is above what a snappy block can expand to: three bytes can
// copy 64.
const maxSnappyRatio = 22

// appendSnappy appends the content of one block. A block announces its length,
// which is believed only as far as a block of that size can expand.
func appendSnappy(out, block []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return nil, badStream(err)
	}
	if n > maxSnappyRatio*len(block) {
		return nil, badStream(errors.New("snappy block announces more than it can hold"))
	}
	if n > limit-len(out) {
		return nil, tooMuch(limit)
	}
	if n > cap(out)-len(out) {
		grown := make([]byte, len(out), max(len(out)+n, min(limit, growBy*cap(out))))
		copy(grown, out)
		out = grown
	}
	if _, err := s2.Decode(out[len(out):len(out)+n], block); err != nil {
		return nil, badStream(err)
	}
	return out[:len(out)+n], nil
}

// zstdDecoder is shared, since DecodeAll may be called concurrently. It never
// writes beyond the capacity of the buffer it is given. (Its own limit on output
// would also limit the window.)
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // only for options out of range
	}
	return d
})

// maxZstdBlock is the most one block of a frame expands to, by RFC 8878.
const maxZstdBlock = 128 << 10

// unzstd tries ever larger buffers. With room for one block more than size, the
// decoder can only fail for want of room once it has put out more than size, or
// at once by the length that a frame announces.
func unzstd(src []byte, limit int) ([]byte, error) {
	for size := firstGuess(len(src), limit); ; size = min(limit, growBy*size) {
		out, err := zstdDecoder().DecodeAll(src, make([]byte, 0, size+maxZstdBlock))
		if err == nil && len(out) <= limit {
			return out, nil
		}
		noRoom := len(out) > size || errors.Is(err, zstd.ErrDecoderSizeExceeded)
		switch {
		case !noRoom:
			return nil, badStream(err)
		case size == limit:
			return nil, tooMuch(limit)
		}
	}
}
