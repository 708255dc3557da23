package batch

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxZstdWindow is the window of zstd's own encoders at their highest level, which
	// clients may choose (KIP-390). Usually it takes less to decode such a frame in one
	// piece, and then that is done.
	maxZstdWindow = 128 << 20
	// maxZstdBlock is the most one block of a frame expands to, by RFC 8878.
	maxZstdBlock = 128 << 10
	// zstdAtOnce is the size up to which records are decoded in one piece, which is faster.
	zstdAtOnce = 1 << 20
	// zstdOverrun is how many bytes fast copies may write behind the end.
	zstdOverrun = 64
)

var (
	errZstdCut   = errors.New("zstd frame is cut short")
	errZstdBlock = errors.New("zstd block of an unknown type or size")
	errZstdLie   = errors.New("zstd frame announces more than it can hold")
)

// planZstd walks the frames' blocks, which shows how much they can hold without decoding
// them.
func planZstd(p plan) (plan, error) {
	var content, window int64
	for rest := p.src; len(rest) > 0; {
		n, w, after, err := zstdFrame(rest)
		if err != nil {
			return p, err
		}
		content, window, rest = content+n, max(window, w), after
	}
	switch {
	case content == 0:
		return p, errZstdCut // a batch has records
	case content <= max(window, zstdAtOnce):
		if content > maxMemory {
			return p, needsTooMuch("a zstd frame", content)
		}
		p.whole, p.memory = int(content)+zstdOverrun, content
	case window > maxMemory:
		return p, needsTooMuch("a zstd window", window)
	default:
		p.memory = window
	}
	return p, nil
}

// zstdFrame returns the most that the frame at the beginning of b can hold, its window, and
// the bytes behind it.
func zstdFrame(b []byte) (content, window int64, rest []byte, err error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return 0, 0, nil, fmt.Errorf("zstd frame: %w", cutIfEOF(err))
	}
	if h.Skippable {
		size := int64(h.HeaderSize) + int64(h.SkippableSize)
		if size > int64(len(b)) {
			return 0, 0, nil, errZstdCut
		}
		return 0, 0, b[size:], nil
	}
	b = b[h.HeaderSize:]
	for last := false; !last; {
		if len(b) < 3 {
			return 0, 0, nil, errZstdCut
		}
		head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		stored, held := head>>3, head>>3
		switch head >> 1 & 3 {
		case 1: // one byte, many times
			stored = 1
		case 2:
			held = maxZstdBlock
		case 3:
			return 0, 0, nil, errZstdBlock
		}
		if held > maxZstdBlock || stored > len(b)-3 {
			return 0, 0, nil, errZstdCut
		}
		content += int64(held)
		b = b[3+stored:]
		last = head&1 != 0
	}
	if h.HasCheckSum {
		if len(b) < 4 {
			return 0, 0, nil, errZstdCut
		}
		b = b[4:]
	}
	if h.HasFCS {
		if h.FrameContentSize > uint64(content) {
			return 0, 0, nil, errZstdLie
		}
		content = int64(h.FrameContentSize)
	}
	if window = int64(min(h.WindowSize, maxZstdWindow+1)); h.SingleSegment {
		window = content
	}
	return content, window, b, nil
}

// zstdDecoder is shared, since DecodeAll may be called concurrently. It never
// writes beyond the capacity of the buffer it is given. (Its own limit on output
// would also limit the window.)
var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	return newZstd(zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecodeAllCapLimit(true))
})

func newZstd(options ...zstd.DOption) *zstd.Decoder {
	d, err := zstd.NewReader(nil, options...)
	if err != nil {
		panic(err) // only for options out of range
	}
	return d
}

func unzstd(src, out []byte) ([]byte, error) { return zstdDecoder().DecodeAll(src, out[:0]) }

// zstdStreams are decoders that work without goroutines, and keep their window.
var zstdStreams = sync.Pool{New: func() any {
	return newZstd(zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxMemory))
}}

// maxKeptWindow is the largest window of a decoder that is kept: the window of the levels
// that producers use.
const maxKeptWindow = 8 << 20

func (s *stream) openZstd(window int64, rr *recordReader) error {
	d := zstdStreams.Get().(*zstd.Decoder)
	s.close = func() {
		if window > maxKeptWindow || d.Reset(nil) != nil {
			d.Close()
			return
		}
		zstdStreams.Put(d)
	}
	rr.r, rr.buf = d, s.window[:]
	return d.Reset(&s.in)
}
