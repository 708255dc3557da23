package batch

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/s2"
)

// xerialMagic starts the framing of snappy-java, which Java clients and those
// like them use; others send a bare block. After it come a version and the
// lowest compatible version, and then blocks with 32-bit lengths.
const (
	xerialMagic  = "\x82SNAPPY\x00"
	xerialHeader = len(xerialMagic) + 8
)

// maxSnappyRatio is more than a snappy block can expand by: three bytes can copy 64.
const maxSnappyRatio = 22

var (
	errSnappyLength = errors.New("snappy block length is cut short")
	errSnappyBlock  = errors.New("snappy block is cut short")
	errSnappyLie    = errors.New("snappy block announces more than it can hold")
)

// planSnappy finds the largest block, because a block is decoded in one piece. The length
// that a block announces is believed only as far as a block of that size can expand.
func planSnappy(p plan) (plan, error) {
	if len(p.src) < xerialHeader || string(p.src[:len(xerialMagic)]) != xerialMagic {
		n, err := snappyLen(p.src)
		p.whole, p.memory = n, int64(n)
		if n == 0 && err == nil {
			err = errSnappyBlock // a batch has records
		}
		return p, err
	}
	for rest := p.src[xerialHeader:]; len(rest) > 0; {
		block, after, err := nextBlock(rest)
		if err != nil {
			return p, err
		}
		n, err := snappyLen(block)
		if err != nil {
			return p, err
		}
		p.memory = max(p.memory, int64(n))
		rest = after
	}
	return p, nil
}

func snappyLen(block []byte) (int, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return 0, err
	case n > maxSnappyRatio*len(block):
		return 0, errSnappyLie
	case n > maxMemory:
		return 0, needsTooMuch("a snappy block", int64(n))
	}
	return n, nil
}

// nextBlock returns the first block of a stream of blocks, and the rest.
func nextBlock(src []byte) (block, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errSnappyLength
	}
	n := binary.BigEndian.Uint32(src)
	src = src[4:]
	if uint64(n) > uint64(len(src)) {
		return nil, nil, errSnappyBlock
	}
	return src[:n], src[n:], nil
}

func unsnappy(src, out []byte) ([]byte, error) { return s2.Decode(out, src) }

// snappyReader decodes blocks that planSnappy has seen.
type snappyReader struct {
	src   []byte
	out   []byte // decoded and not read yet
	block []byte
}

func (r *snappyReader) reset() {
	r.src, r.out = nil, nil
	if cap(r.block) > maxKept {
		r.block = nil
	}
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if len(r.src) == 0 {
			return 0, io.EOF
		}
		block, rest, err := nextBlock(r.src)
		if err != nil {
			return 0, err
		}
		n, err := snappyLen(block)
		if err != nil {
			return 0, err
		}
		if cap(r.block) < n {
			r.block = make([]byte, n)
		}
		if r.out, err = s2.Decode(r.block[:n], block); err != nil {
			return 0, err
		}
		r.src = rest
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}
