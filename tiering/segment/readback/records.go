package readback

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// Limits of one batch, at least those of the decoder that recompresses: a batch that it
// decodes must be decoded here, too.
const (
	maxDecoded = 1 << 30 // bytes
	windowSize = 64 << 10
)

var (
	errRecord  = errors.New("malformed record")
	errExpands = errors.New("records expand beyond the limit")
)

// records adds up the records of a batch, payload being the bytes behind its header. An
// error is one of the payload, or of the context.
func (r *Reader) records(ctx context.Context, payload []byte, h *batchHeader) (Sum, int64, error) {
	in := &r.input
	if err := in.open(ctx, &r.codecs, h.attributes&codecBits, payload); err != nil {
		return Sum{}, 0, err
	}
	defer in.close(&r.codecs)
	var sum Sum
	newest, last := int64(-1), int64(-1)
	for range h.records {
		delta, at, err := r.record(h)
		if err != nil {
			return Sum{}, 0, err
		}
		if delta <= last || delta > int64(h.lastDelta) {
			return Sum{}, 0, errRecord
		}
		last, newest = delta, max(newest, at)
		if r.choice.takes(h.base + delta) {
			sum.Records++
			sum.Hash += r.hash.Sum64()
		}
	}
	return sum, newest, in.end()
}

// record reads one record into the hash, and returns its offset delta and timestamp.
func (r *Reader) record(h *batchHeader) (delta, at int64, err error) {
	in := &r.input
	size := in.varint()
	if in.err != nil || size < 0 || size > math.MaxInt32 {
		return 0, 0, errRecord
	}
	in.left = size
	r.hash.Reset()
	attributes := in.byte()
	at = h.first + in.varint()
	if h.attributes&bitAppendTime != 0 {
		at = h.most
	}
	delta = in.varint()
	r.number(h.base+delta, at, int64(attributes), int64(h.epoch), int64(h.attributes&^codecBits), h.producer, int64(h.prodEpoch), sequence(h, delta))
	r.choice.null = r.field(true, r.keyWriter()) < 0
	r.choice.tombstone = r.field(true, &r.hash) < 0
	count := in.varint()
	r.number(count)
	if count < 0 {
		return 0, 0, errRecord
	}
	for ; count > 0 && in.err == nil; count-- {
		r.field(false, &r.hash)
		r.field(true, &r.hash)
	}
	if in.left != 0 || in.err != nil {
		return 0, 0, errRecord
	}
	in.left = noRecord
	return delta, at, nil
}

// sequence is that of a record; 0 comes after the greatest one.
func sequence(h *batchHeader, delta int64) int64 {
	if h.sequence < 0 {
		return -1
	}
	return (int64(h.sequence) + delta) % (1 << 31)
}

// field reads a key or value with its length into the hash, and returns the length. The
// bytes go to w.
func (r *Reader) field(null bool, w io.Writer) int64 {
	n := r.input.varint()
	if n < -1 || n < 0 && !null || n > math.MaxInt32 {
		r.input.err = errRecord
		return n
	}
	r.number(n)
	r.input.each(n, w)
	return n
}

func (r *Reader) number(numbers ...int64) {
	var b [8 * 8]byte
	for i, n := range numbers {
		binary.BigEndian.PutUint64(b[8*i:], uint64(n))
	}
	r.hash.Write(b[:8*len(numbers)])
}

// noRecord is the left of an input between two records.
const noRecord = math.MaxInt64

// input is the decoded records of a batch, of which it holds a window. After an error it
// gives zeros.
type input struct {
	ctx   context.Context
	src   io.Reader // nil if b is all there is
	b     []byte    // decoded and not read yet
	left  int64     // bytes of the record
	more  int64     // bytes that src may still give
	err   error
	space [windowSize]byte
}

func (in *input) open(ctx context.Context, c *codecs, codec uint16, payload []byte) error {
	in.ctx, in.left, in.more, in.err = ctx, noRecord, maxDecoded, nil
	in.b, in.src = nil, nil
	var err error
	in.b, in.src, err = c.open(codec, payload)
	return err
}

func (in *input) close(c *codecs) {
	in.b, in.src, in.ctx = nil, nil, nil
	c.close()
}

// fill reads more into an empty window. It reports whether there is a byte.
func (in *input) fill() bool {
	for len(in.b) == 0 && in.err == nil {
		if in.src == nil {
			in.err = io.ErrUnexpectedEOF
			break
		}
		n, err := in.src.Read(in.space[:])
		in.b = in.space[:n]
		in.more -= int64(n)
		switch {
		case in.ctx.Err() != nil:
			in.err = context.Cause(in.ctx)
		case in.more < 0:
			in.err = errExpands
		case n == 0 && err != nil:
			in.err = err
		}
	}
	return in.err == nil
}

func (in *input) byte() byte {
	if in.left == 0 {
		in.err = errRecord
	}
	if !in.fill() {
		return 0
	}
	c := in.b[0]
	in.b = in.b[1:]
	in.left--
	return c
}

func (in *input) varint() int64 {
	var u uint64
	for shift := 0; shift < 64; shift += 7 {
		c := in.byte()
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	in.err = errRecord
	return 0
}

// each writes the next n bytes to w.
func (in *input) each(n int64, w io.Writer) {
	if n > in.left {
		in.err = errRecord
	}
	for n > 0 && in.fill() {
		part := in.b[:min(n, int64(len(in.b)))]
		w.Write(part)
		in.b = in.b[len(part):]
		n -= int64(len(part))
		in.left -= int64(len(part))
	}
}

// end returns an error if bytes follow the last record.
func (in *input) end() error {
	if in.fill() {
		return errRecord
	}
	if in.src == nil && errors.Is(in.err, io.ErrUnexpectedEOF) || errors.Is(in.err, io.EOF) {
		return nil
	}
	return in.err
}
