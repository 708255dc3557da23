// Package wire is the byte level under every format of ours: big-endian
// integers, length-prefixed bytes and strings, 128-bit ids.
//
// It promises that a Reader never reads past its input, and that it never makes
// a caller allocate from a count or length that the input cannot hold. The
// first error of a Reader or Writer stays: all later calls return zero values
// or do nothing, so a decoder checks once, at its end. It knows no format and
// never decides the meaning of a value.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrTooLong: the length prefix of a value cannot express its length.
var ErrTooLong = errors.New("value too long for its length prefix")

// Writer appends to B. Set B to a slice of the final capacity to write without
// growing. The zero Writer is ready.
type Writer struct {
	B   []byte
	err error
}

// Err returns the first error, ErrTooLong. After an error, B must not be used.
func (w *Writer) Err() error { return w.err }

// Len returns the number of bytes in B.
func (w *Writer) Len() int { return len(w.B) }

// U8 appends one byte.
func (w *Writer) U8(v uint8) { w.B = append(w.B, v) }

// U16 appends two bytes.
func (w *Writer) U16(v uint16) { w.B = binary.BigEndian.AppendUint16(w.B, v) }

// U32 appends four bytes.
func (w *Writer) U32(v uint32) { w.B = binary.BigEndian.AppendUint32(w.B, v) }

// U64 appends eight bytes.
func (w *Writer) U64(v uint64) { w.B = binary.BigEndian.AppendUint64(w.B, v) }

// I16 appends two bytes, two's complement.
func (w *Writer) I16(v int16) { w.U16(uint16(v)) }

// I32 appends four bytes, two's complement.
func (w *Writer) I32(v int32) { w.U32(uint32(v)) }

// I64 appends eight bytes, two's complement.
func (w *Writer) I64(v int64) { w.U64(uint64(v)) }

// ID appends sixteen bytes.
func (w *Writer) ID(id [16]byte) { w.B = append(w.B, id[:]...) }

// Raw appends b without a length.
func (w *Writer) Raw(b []byte) { w.B = append(w.B, b...) }

// Zeros appends n zero bytes.
func (w *Writer) Zeros(n int) {
	for range n {
		w.B = append(w.B, 0)
	}
}

// Bytes32 appends a 32-bit length and b.
func (w *Writer) Bytes32(b []byte) {
	if !w.fits(len(b), math.MaxUint32) {
		return
	}
	w.U32(uint32(len(b)))
	w.Raw(b)
}

// String16 appends a 16-bit length and the bytes of s.
func (w *Writer) String16(s string) {
	if !w.fits(len(s), math.MaxUint16) {
		return
	}
	w.U16(uint16(len(s)))
	w.B = append(w.B, s...)
}

func (w *Writer) fits(n int, limit uint64) bool {
	if w.err == nil && uint64(n) > limit {
		w.err = fmt.Errorf("write %d bytes, at most %d: %w", n, limit, ErrTooLong)
	}
	return w.err == nil
}
