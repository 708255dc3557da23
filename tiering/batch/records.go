package batch

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Record is one record of a batch. Its slices are valid only until the function
// it was passed to returns.
type Record struct {
	Offset    int64
	Timestamp int64  // Unix milliseconds
	Key       []byte // nil if null
	Value     []byte // nil if null
	Headers   Headers
}

// Headers are the headers of a record, still encoded.
type Headers struct {
	n   int
	raw []byte // checked by decodeHeaders
}

// Len is the number of headers.
func (h Headers) Len() int { return h.n }

// All yields key and value of each header in order; a null value is nil.
func (h Headers) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		v := varints{b: h.raw}
		for range h.n {
			if key, value := v.bytes(), v.bytes(); !yield(key, value) {
				return
			}
		}
	}
}

// Records calls fn for each record of the batch that starts b, until fn returns
// false. The records may expand to at most maxBytes and to no more than honest
// data would (expandLimit), else the error is ErrDecompress. Every record is
// checked before fn sees it; malformed ones are ErrCorruptBatch, after those
// before them have been passed on. The CRC is not checked.
func Records(b []byte, maxBytes int, fn func(Record) bool) error {
	h, err := Parse(b)
	if err != nil {
		return err
	}
	raw, err := decompress(h.Compression(), b[HeaderSize:h.Size()], maxBytes)
	if err != nil {
		return fmt.Errorf("decompress %s records: %w", h.Compression(), err)
	}
	v := varints{b: raw}
	last := int64(-1)
	for i := range int64(h.Records) {
		body := v.take(v.varint())
		if v.bad {
			return corrupt("record %d of %d is cut short", i, h.Records)
		}
		r, delta, ok := decodeRecord(body, h)
		if !ok {
			return corrupt("record %d of %d is malformed", i, h.Records)
		}
		if delta <= last || delta > int64(h.LastOffsetDelta) {
			return corrupt("record %d of %d has offset delta %d after %d, last of the batch is %d",
				i, h.Records, delta, last, h.LastOffsetDelta)
		}
		last = delta
		if !fn(r) {
			return nil
		}
	}
	if len(v.b) != 0 {
		return corrupt("%d bytes after the last of %d records", len(v.b), h.Records)
	}
	return nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorruptBatch}, args...)...)
}

// decodeRecord reads what follows a record's length:
//
//	1       attributes       unused
//	varint  timestamp delta  to the batch's base timestamp
//	varint  offset delta     to the batch's base offset
//	varint  key length       -1 is null; then the key
//	varint  value length     -1 is null; then the value
//	varint  header count     then for each: key length, key (not null), value length, value
func decodeRecord(body []byte, h Header) (r Record, offsetDelta int64, ok bool) {
	v := varints{b: body}
	v.take(1)
	r.Timestamp = h.BaseTimestamp + v.varint()
	if h.LogAppendTime() {
		r.Timestamp = h.MaxTimestamp
	}
	offsetDelta = v.varint()
	r.Offset = h.BaseOffset + offsetDelta
	r.Key = v.bytes()
	r.Value = v.bytes()
	r.Headers = v.headers()
	return r, offsetDelta, !v.bad && len(v.b) == 0
}

// varints takes zigzag varints and what they measure off the front of b. Once
// bad it stays bad and yields nothing.
type varints struct {
	b   []byte
	bad bool
}

func (v *varints) varint() int64 {
	x, n := binary.Varint(v.b)
	if v.bad || n <= 0 {
		v.bad = true
		return 0
	}
	v.b = v.b[n:]
	return x
}

func (v *varints) take(n int64) []byte {
	if v.bad || n < 0 || n > int64(len(v.b)) {
		v.bad = true
		return nil
	}
	taken := v.b[:n:n]
	v.b = v.b[n:]
	return taken
}

// bytes takes a length and that many bytes; nil if the length is -1.
func (v *varints) bytes() []byte {
	n := v.varint()
	if n == -1 {
		return nil
	}
	return v.take(n)
}

func (v *varints) headers() Headers {
	n := v.varint()
	if v.bad || n < 0 || n > int64(len(v.b))/2 { // two lengths each
		v.bad = true
		return Headers{}
	}
	start := v.b
	for range n {
		if key := v.bytes(); key == nil {
			v.bad = true
		}
		v.bytes()
	}
	return Headers{n: int(n), raw: start[:len(start)-len(v.b)]}
}
