package readback

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	maxWhole   = 64 << 20 // bytes that may be decoded in one piece
	smallWhole = 8 << 20  // bytes that are
	maxKept    = 2 << 20  // bytes of a buffer that is kept
)

var (
	errCodec  = errors.New("unknown compression codec")
	errSnappy = errors.New("malformed snappy block")
)

// codecs has the decoders. They are made when they are needed first.
type codecs struct {
	compressed bytes.Reader
	gzip       gzip.Reader
	lz4        *lz4.Reader
	small      *zstd.Decoder // in one piece
	stream     *zstd.Decoder
	whole      []byte
	framed     framedSnappy
}

// open returns the decoded bytes, or a reader of them.
func (c *codecs) open(codec uint16, payload []byte) ([]byte, io.Reader, error) {
	c.compressed.Reset(payload)
	switch codec {
	case 0:
		return payload, nil, nil
	case 1:
		return nil, &c.gzip, c.gzip.Reset(&c.compressed)
	case 2:
		if rest, ok := bytes.CutPrefix(payload, []byte("\x82SNAPPY\x00")); ok && len(rest) >= 8 {
			c.framed.src, c.framed.b = rest[8:], nil
			return nil, &c.framed, nil
		}
		b, err := unsnap(&c.whole, payload)
		return b, nil, err
	case 3:
		if c.lz4 == nil {
			c.lz4 = lz4.NewReader(nil)
		}
		c.lz4.Reset(&c.compressed)
		return nil, c.lz4, nil
	case 4:
		return c.openZstd(payload)
	}
	return nil, nil, errCodec
}

// openZstd decodes small records in one piece, as their window may be larger than they
// are. Of large ones it takes a stream, unless its window is too large for that.
func (c *codecs) openZstd(payload []byte) ([]byte, io.Reader, error) {
	var err error
	if c.small == nil {
		if c.small, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(smallWhole)); err != nil {
			return nil, nil, err
		}
	}
	if b, err := c.small.DecodeAll(payload, c.whole[:0]); err == nil {
		c.whole = b
		return b, nil, nil
	}
	if c.stream == nil {
		if c.stream, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWhole)); err != nil {
			return nil, nil, err
		}
	}
	var h zstd.Header
	if err := h.Decode(payload); err != nil || h.WindowSize <= maxWhole {
		return nil, c.stream, c.stream.Reset(&c.compressed)
	}
	large, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWhole))
	if err != nil {
		return nil, nil, err
	}
	defer large.Close()
	b, err := large.DecodeAll(payload, nil)
	return b, nil, err
}

// close lets go of the payload, and of large buffers.
func (c *codecs) close() {
	c.compressed.Reset(nil)
	c.framed.src, c.framed.b = nil, nil
	if c.lz4 != nil {
		c.lz4.Reset(nil)
	}
	if c.stream != nil {
		c.stream.Reset(nil)
	}
	if cap(c.whole) > maxKept {
		c.whole = nil
	}
	if cap(c.framed.block) > maxKept {
		c.framed.block = nil
	}
}

// unsnap decodes one block into a buffer. Three bytes of a block make 64 at most.
func unsnap(buffer *[]byte, block []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil || n > maxWhole || n > 22*len(block) {
		return nil, errSnappy
	}
	if cap(*buffer) < n {
		*buffer = make([]byte, n)
	}
	return snappy.Decode((*buffer)[:n], block)
}

// framedSnappy reads the framing of Java clients: blocks with 32-bit lengths.
type framedSnappy struct {
	src   []byte
	b     []byte // decoded and not read yet
	block []byte
}

func (f *framedSnappy) Read(p []byte) (int, error) {
	for len(f.b) == 0 {
		if len(f.src) == 0 {
			return 0, io.EOF
		}
		if len(f.src) < 4 || uint64(binary.BigEndian.Uint32(f.src)) > uint64(len(f.src)-4) {
			return 0, errSnappy
		}
		n := 4 + int(binary.BigEndian.Uint32(f.src))
		var err error
		if f.b, err = unsnap(&f.block, f.src[4:n]); err != nil {
			return 0, err
		}
		f.src = f.src[n:]
	}
	n := copy(p, f.b)
	f.b = f.b[n:]
	return n, nil
}
