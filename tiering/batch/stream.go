package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/pierrec/lz4/v4"
)

const (
	// MaxDecompressed bounds the bytes that the records of one batch expand to, for all
	// decoders. They take no memory here, but time; and few consumers could hold them.
	MaxDecompressed = 1 << 30
	// maxMemory bounds the bytes that must be in memory at once to decode one batch: the
	// window of zstd, or a block of snappy. Only the levels 21 and 22 of zstd have a window
	// as large or larger, which counts only if the records fill it.
	maxMemory = 64 << 20
	// windowSize is how many bytes of a stream a recordReader holds at once.
	windowSize = 64 << 10
	// smallMemory is the memory that decoding takes in addition to that of the plan.
	smallMemory = 256 << 10
)

var errExpands = fmt.Errorf("%w of %d bytes", ErrDecompress, MaxDecompressed)

func needsTooMuch(what string, n int64) error {
	return fmt.Errorf("%w: %s of %d bytes must be in memory at once, at most %d", ErrDecompress, what, n, maxMemory)
}

// plan is how the records of a batch are decoded.
type plan struct {
	codec  Codec
	src    []byte
	memory int64 // bytes that decoding takes, without smallMemory
	whole  int   // decode in one piece, of at most so many bytes; 0 is a stream
}

// planFor looks at the frames of src, and finds out how much memory decoding them takes,
// without decoding them.
func planFor(codec Codec, src []byte) (plan, error) {
	p := plan{codec: codec, src: src}
	switch codec {
	case None, Gzip:
		return p, nil
	case Snappy:
		return planSnappy(p)
	case LZ4:
		return planLZ4(p)
	case Zstd:
		return planZstd(p)
	}
	return p, fmt.Errorf("%w: %d", ErrCodec, codec)
}

// stream decodes the records of one batch for a recordReader. Streams are pooled with
// their decoders.
type stream struct {
	in     cursor
	gzip   *gzip.Reader
	lz4    *lz4.Reader
	snappy snappyReader
	window [windowSize]byte
	whole  []byte
	close  func() // gives back a decoder that is not kept, may be nil
}

var streams = sync.Pool{New: func() any { return new(stream) }}

// maxKept is the largest buffer that a stream keeps for the next batch.
const maxKept = 2 << 20

// open makes rr read the records of p. The stream must be released after use, also if
// there is an error.
func (s *stream) open(ctx context.Context, p *plan, rr *recordReader) error {
	*rr = recordReader{left: MaxDecompressed, ctx: ctx}
	s.in.b = p.src
	switch {
	case p.codec == Gzip:
		if s.gzip == nil {
			s.gzip = new(gzip.Reader)
		}
		rr.r = s.gzip
		if err := s.gzip.Reset(&s.in); err != nil {
			return cutIfEOF(err)
		}
	case p.codec == LZ4:
		if s.lz4 == nil {
			s.lz4 = lz4.NewReader(nil)
		}
		s.lz4.Reset(&s.in)
		rr.r = s.lz4
	case p.codec == Snappy && p.whole == 0:
		s.snappy.src = p.src[xerialHeader:]
		rr.r = &s.snappy
	case p.codec == Zstd && p.whole == 0:
		return s.openZstd(p.memory, rr)
	default:
		var err error
		if cap(s.whole) < p.whole {
			s.whole = make([]byte, p.whole)
		}
		rr.b, err = decodeWhole(p, s.whole[:p.whole])
		return err
	}
	rr.buf = s.window[:]
	return nil
}

func decodeWhole(p *plan, out []byte) ([]byte, error) {
	if p.codec == Snappy {
		return unsnappy(p.src, out)
	}
	return unzstd(p.src, out)
}

// release puts a stream back.
func (s *stream) release() {
	if s.close != nil {
		s.close()
		s.close = nil
	}
	s.in.b = nil
	s.snappy.reset()
	if s.lz4 != nil {
		s.lz4.Reset(nil) // gives its blocks back
	}
	if cap(s.whole) > maxKept {
		s.whole = nil
	}
	streams.Put(s)
}

// cursor is the compressed bytes that are left to read.
type cursor struct{ b []byte }

func (c *cursor) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.b)
	c.b = c.b[n:]
	return n, nil
}

// ReadByte makes gzip read no further than it decodes.
func (c *cursor) ReadByte() (byte, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	b := c.b[0]
	c.b = c.b[1:]
	return b, nil
}

func cutIfEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// lz4Magic starts an LZ4 frame. The library would also read other formats, but no Kafka
// client writes or reads them.
const lz4Magic = "\x04\x22\x4d\x18"

// planLZ4 reads the size of the frame's blocks. The decoder holds one block compressed and
// one decoded.
func planLZ4(p plan) (plan, error) {
	if len(p.src) < 7 || string(p.src[:4]) != lz4Magic {
		return p, errors.New("no lz4 frame")
	}
	index := p.src[5] >> 4 & 7
	if index < 4 {
		return p, errors.New("lz4 frame with a size of blocks that does not exist")
	}
	p.memory = 2 << (8 + 2*int64(index))
	return p, nil
}
