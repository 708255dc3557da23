package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The errors of a Reader.
var (
	ErrShort    = errors.New("input too short")         // a value runs past the end
	ErrCount    = errors.New("count exceeds input")     // the rest cannot hold as many items
	ErrTrailing = errors.New("bytes left over")         // Close before the end
	ErrNotZero  = errors.New("reserved bytes not zero") // Zeros found another byte
)

// Reader takes values off the front of a byte slice. Slices it returns alias the
// input; strings are copies.
type Reader struct {
	b   []byte
	pos int
	err error
}

// NewReader returns a Reader at the start of b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns the first error, with its position; compare it with the package's
// sentinels by errors.Is.
func (r *Reader) Err() error { return r.err }

// Len returns how many bytes are left; 0 after an error.
func (r *Reader) Len() int {
	if r.err != nil {
		return 0
	}
	return len(r.b) - r.pos
}

// Pos returns how many bytes have been read.
func (r *Reader) Pos() int { return r.pos }

// Close returns the first error, or ErrTrailing if bytes are left.
func (r *Reader) Close() error {
	if r.err == nil && r.pos != len(r.b) {
		r.fail(fmt.Errorf("%d bytes after position %d: %w", len(r.b)-r.pos, r.pos, ErrTrailing))
	}
	return r.err
}

// Raw takes n bytes, without a copy; nil on error.
func (r *Reader) Raw(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.pos {
		r.fail(fmt.Errorf("read %d bytes at position %d of %d: %w", n, r.pos, len(r.b), ErrShort))
		return nil
	}
	b := r.b[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return b
}

// U8 takes one byte.
func (r *Reader) U8() uint8 {
	if b := r.Raw(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 takes two bytes.
func (r *Reader) U16() uint16 {
	if b := r.Raw(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 takes four bytes.
func (r *Reader) U32() uint32 {
	if b := r.Raw(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 takes eight bytes.
func (r *Reader) U64() uint64 {
	if b := r.Raw(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// I16 takes two bytes, two's complement.
func (r *Reader) I16() int16 { return int16(r.U16()) }

// I32 takes four bytes, two's complement.
func (r *Reader) I32() int32 { return int32(r.U32()) }

// I64 takes eight bytes, two's complement.
func (r *Reader) I64() int64 { return int64(r.U64()) }

// ID takes sixteen bytes.
func (r *Reader) ID() [16]byte {
	if b := r.Raw(16); b != nil {
		return [16]byte(b)
	}
	return [16]byte{}
}

// Bytes32 takes a 32-bit length and that many bytes, without a copy.
func (r *Reader) Bytes32() []byte { return r.Raw(int(r.U32())) }

// String16 takes a 16-bit length and that many bytes.
func (r *Reader) String16() string { return string(r.Raw(int(r.U16()))) }

// Zeros takes n bytes that must be zero.
func (r *Reader) Zeros(n int) {
	at := r.pos
	for i, c := range r.Raw(n) {
		if c != 0 {
			r.fail(fmt.Errorf("byte at position %d is %#02x: %w", at+i, c, ErrNotZero))
			return
		}
	}
}

// Count checks a count that was just read: n items of at least minSize bytes
// each must fit into the remaining bytes. It returns n, or fails the Reader and
// returns 0, so that the caller may allocate by the result. minSize must be
// positive.
func (r *Reader) Count(n uint32, minSize int) int {
	if r.err != nil {
		return 0
	}
	if uint64(n)*uint64(minSize) > uint64(r.Len()) {
		r.fail(fmt.Errorf("%d items of %d bytes or more at position %d, %d bytes left: %w",
			n, minSize, r.pos, r.Len(), ErrCount))
		return 0
	}
	return int(n)
}

func (r *Reader) fail(err error) { r.err = err }
