package listener

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A Shape is the layout of a request, as far as is needed to know how much
// decoding it will allocate. The decoder trusts counts as long as one byte per
// element is left. That is 64 to 152 bytes of memory for each byte of a hostile
// frame. It also loops over a tag count without checking that bytes are left.
// Walking the shape first costs neither.
type Shape []Field

type fieldKind uint8

const (
	fixed    fieldKind = iota + 1 // size bytes
	text                          // string, nullable or not
	blob                          // bytes, nullable or not, not copied by the decoder
	list                          // array of structs, nullable or not
	texts                         // array of strings, nullable or not
	numbers                       // array of numbers of size bytes
	nested                        // struct
	optional                      // struct or nothing, by the byte before it
	tagged                        // a known tag of the struct, with fields of its own
)

// lastVersion is the end of a field that was never removed.
const lastVersion = int16(1<<15 - 1)

// Field is one field of a Shape. It is in all versions unless From and To limit
// them.
type Field struct {
	kind         fieldKind
	since, until int16 // versions that have it
	size         int   // of a fixed field or a number on the wire; of a decoded struct
	tag          uint32
	elems        Shape
}

// Num is a number of size bytes.
func Num(size int) Field { return Field{kind: fixed, size: size, until: lastVersion} }

// Str is a string, nullable or not.
func Str() Field { return Field{kind: text, until: lastVersion} }

// Raw is bytes, nullable or not.
func Raw() Field { return Field{kind: blob, until: lastVersion} }

// Strs is an array of strings, Ints of 32-bit numbers, BytesOf of 8-bit ones.
func Strs() Field    { return Field{kind: texts, until: lastVersion} }
func Ints() Field    { return Field{kind: numbers, size: 4, until: lastVersion} }
func BytesOf() Field { return Field{kind: numbers, size: 1, until: lastVersion} }

// ListOf is an array of structs with these fields, which take elem bytes each when
// they are decoded.
func ListOf(elem int, elems ...Field) Field {
	return Field{kind: list, size: elem, elems: elems, until: lastVersion}
}

// Tag is a known tag of the struct that it stands in, with fields of its own.
func Tag(key uint32, elems ...Field) Field {
	return Field{kind: tagged, tag: key, elems: elems, until: lastVersion}
}

// OptionalOf is a struct or nothing, by the byte before it.
func OptionalOf(elem int, elems ...Field) Field {
	return Field{kind: optional, size: elem, elems: elems, until: lastVersion}
}

// StructOf is a struct with these fields.
func StructOf(elems ...Field) Field { return Field{kind: nested, elems: elems, until: lastVersion} }

// From is f in versions from v on, To in versions up to v.
func (f Field) From(v int16) Field { f.since = v; return f }
func (f Field) To(v int16) Field   { f.until = v; return f }

// Allocations of decoding in addition to the elements, in bytes.
const (
	costString = 32  // header or pointer, and rounding up
	costTag    = 256 // an unknown tag is an entry of a map
)

// The reasons for which a request is not decoded.
var (
	ErrMalformed = errors.New("malformed request")
	ErrTooCostly = errors.New("request is too large to decode")
)

// walker walks one request body.
type walker struct {
	b        []byte
	version  int16
	flexible bool
	cost     int64
	elements int
}

// Cost returns the most that decoding body will allocate, in bytes, or an error
// if the body does not fit the shape or the limits. It accepts bytes after the
// last field, as Kafka does.
func (s Shape) Cost(body []byte, version int16, flexible bool) (int64, error) {
	w := walker{b: body, version: version, flexible: flexible}
	if err := w.fields(s); err != nil {
		return 0, err
	}
	return w.cost, nil
}

func (w *walker) fields(s Shape) error {
	for i := range s {
		f := &s[i]
		if f.kind == tagged || w.version < f.since || w.version > f.until {
			continue
		}
		if err := w.field(f); err != nil {
			return err
		}
	}
	if w.flexible {
		return w.tags(s)
	}
	return nil
}

func (w *walker) field(f *Field) error {
	switch f.kind {
	case fixed:
		return w.skip(int64(f.size))
	case text:
		return w.string()
	case nested:
		return w.fields(f.elems)
	case optional:
		return w.optional(f)
	case blob:
		n, err := w.length(4)
		if err != nil {
			return err
		}
		return w.skip(n)
	}
	n, err := w.length(4)
	if err != nil {
		return err
	}
	switch f.kind {
	case numbers:
		size := int64(f.size)
		if err := w.charge(n, size); err != nil {
			return err
		}
		return w.skip(size * n)
	case texts:
		return w.each(n, 16, w.string)
	default:
		return w.each(n, int64(f.size), func() error { return w.fields(f.elems) })
	}
}

// noStruct is the byte in the place of a missing struct.
const noStruct = 0xff

func (w *walker) optional(f *Field) error {
	if len(w.b) == 0 {
		return ErrMalformed
	}
	there := w.b[0] != noStruct
	w.b = w.b[1:]
	if !there {
		return nil
	}
	w.cost += int64(f.size)
	return w.fields(f.elems)
}

func (w *walker) each(n, size int64, walk func() error) error {
	if err := w.charge(n, size); err != nil {
		return err
	}
	for range n {
		if err := walk(); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) string() error {
	n, err := w.length(2)
	if err != nil {
		return err
	}
	if n > math.MaxInt16 {
		return ErrMalformed // as for Kafka, whose older formats cannot express it
	}
	w.cost += n + costString
	return w.skip(n)
}

// length reads the length or count of a field, in width bytes if it is not
// compact. Null is 0.
func (w *walker) length(width int) (int64, error) {
	if w.flexible {
		n, err := w.uvarint()
		return max(0, int64(n)-1), err
	}
	if len(w.b) < width {
		return 0, ErrMalformed
	}
	var n int64
	if width == 2 {
		n = int64(int16(binary.BigEndian.Uint16(w.b)))
	} else {
		n = int64(int32(binary.BigEndian.Uint32(w.b)))
	}
	w.b = w.b[width:]
	if n < -1 {
		return 0, ErrMalformed
	}
	return max(0, n), nil
}

// charge counts n elements of size bytes, each of which takes at least a byte
// of the frame.
func (w *walker) charge(n, size int64) error {
	if n > int64(len(w.b)) {
		return ErrMalformed
	}
	w.elements += int(n)
	w.cost += n * size
	if w.elements > maxElements || w.cost > maxDecodeCost {
		return fmt.Errorf("%w: more than %d elements or %d bytes", ErrTooCostly, maxElements, maxDecodeCost)
	}
	return nil
}

func (w *walker) skip(n int64) error {
	if n > int64(len(w.b)) {
		return ErrMalformed
	}
	w.b = w.b[n:]
	return nil
}

func (w *walker) tags(s Shape) error {
	n, err := w.uvarint()
	if err != nil {
		return err
	}
	return w.each(int64(n), costTag, func() error { return w.tagOf(s) })
}

func (w *walker) tagOf(s Shape) error {
	key, err := w.uvarint()
	if err != nil {
		return err
	}
	size, err := w.uvarint()
	if err != nil {
		return err
	}
	if int64(size) > int64(len(w.b)) {
		return ErrMalformed
	}
	value := w.b[:size]
	w.b = w.b[size:]
	for i := range s {
		f := &s[i]
		if f.kind != tagged || f.tag != key || w.version < f.since || w.version > f.until {
			continue
		}
		return w.inside(value, f.elems)
	}
	return nil
}

// inside walks the value of a known tag, which must end where the tag does.
func (w *walker) inside(value []byte, s Shape) error {
	outer := w.b
	w.b = value
	for i := range s {
		if err := w.field(&s[i]); err != nil {
			return err
		}
	}
	w.b = outer
	return nil
}

func (w *walker) uvarint() (uint32, error) {
	n, size := binary.Uvarint(w.b[:min(len(w.b), 5)])
	if size <= 0 || n > 1<<32-1 {
		return 0, ErrMalformed
	}
	w.b = w.b[size:]
	return uint32(n), nil
}
