package batch

import (
	"context"
	"encoding/binary"
	"iter"
)

// MaxStoredRecord bounds the memory of a stored record that is decoded, in bytes: the largest
// batch that any topic takes is smaller.
const MaxStoredRecord = 64 << 20

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
	raw []byte // checked by parseEntry
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

// Records calls fn for each record of the batch that starts b, until fn returns false.
// Compressed records are decoded in a stream, so that they take the memory of the largest
// record. A record of more than maxRecord bytes is ErrDecompress. Every record is checked
// before fn gets it; a malformed one is ErrCorruptBatch, after fn was called for the
// records before it. The CRC is not checked.
//
// Records is for callers that serve no client: Scan and Check take no more memory than
// their Room has.
func Records(b []byte, maxRecord int, fn func(Record) bool) error {
	h, err := Parse(b)
	if err != nil {
		return err
	}
	return each(b, h, maxRecord, func(_ []byte, r Record) bool { return fn(r) })
}

// bodies calls fn for each record with the bytes behind its length, until fn returns false.
func bodies(ctx context.Context, b []byte, h Header, maxRecord int, fn func(body []byte, r Record) bool) error {
	var o opened
	if err := o.open(ctx, nil, b, h); err != nil {
		return err
	}
	defer o.close()
	last := int32(-1)
	for i := range h.Records {
		body, bad, err := o.reader.body(maxRecord)
		if err != nil {
			return err
		}
		var e entry
		if bad == "" {
			e, bad = parseEntry(body)
		}
		if bad != "" {
			return o.reader.flawed(i, h, bad)
		}
		if err := rising(i, h, last, e.offset); err != nil {
			return err
		}
		last = e.offset
		if !fn(body, recordOf(body, e, h)) {
			return nil
		}
	}
	return o.finished(h)
}

// recordOf reads a record that parseEntry has checked.
func recordOf(body []byte, e entry, h Header) Record {
	r := Record{Offset: h.BaseOffset + int64(e.offset), Timestamp: h.timeOf(e)}
	v := varints{b: body[1:]}
	v.varint()
	v.varint()
	r.Key = v.bytes()
	r.Value = v.bytes()
	r.Headers = Headers{n: int(v.varint()), raw: v.b}
	return r
}

// varints takes zigzag varints, and the bytes whose length they are, off the front of b,
// which was checked.
type varints struct{ b []byte }

func (v *varints) varint() int64 {
	x, n := binary.Varint(v.b)
	v.b = v.b[n:]
	return x
}

// bytes takes a length and that many bytes; nil if the length is -1.
func (v *varints) bytes() []byte {
	n := v.varint()
	if n < 0 {
		return nil
	}
	taken := v.b[:n:n]
	v.b = v.b[n:]
	return taken
}
