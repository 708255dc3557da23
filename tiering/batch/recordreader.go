package batch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// entry is a record without its key, value and headers.
type entry struct {
	timestamp int64 // less the base timestamp
	offset    int32 // less the base offset
	keyed     bool  // its key is not null
}

// flaw says what is wrong with one record, in words that go on after its number.
type flaw string

const (
	flawCut       flaw = "is cut short"
	flawLength    flaw = "has a length that no record has"
	flawTimestamp flaw = "has no timestamp that can be read"
	flawOffset    flaw = "has no offset delta that can be read"
	flawKey       flaw = "has a key longer than the record"
	flawValue     flaw = "has a value longer than the record"
	flawHeaders   flaw = "has a number of headers that it cannot hold"
	flawHeaderKey flaw = "has a header without a key"
	flawHeader    flaw = "has a header longer than the record"
	flawRest      flaw = "has bytes behind its last header"
)

// recordReader reads records one by one, from memory or from a stream, of which it holds a
// window. It steps over records that are longer than the window in pieces.
type recordReader struct {
	b    []byte // decoded and not read yet
	r    io.Reader
	buf  []byte // the window, of which b is a part; nil if b is all there is
	err  error  // that r ended with
	left int64  // bytes r may still give
	ctx  context.Context

	room  *Room
	took  int  // bytes of r, in this turn
	waits bool // gave its decoder to another reader, and got none back
}

// next reads one record.
//
//	varint  length           of what follows
//	1       attributes       unused
//	varlong timestamp delta  to the batch's base timestamp
//	varint  offset delta     to the batch's base offset
//	varint  key length       -1 is null; then the key
//	varint  value length     -1 is null; then the value
//	varint  header count     then for each: key length, key (not null), value length, value
func (rr *recordReader) next() (entry, flaw) {
	length, bad := rr.length()
	if bad != "" {
		return entry{}, bad
	}
	if length > len(rr.b) && !rr.fill(length) {
		if rr.r != nil && length > len(rr.buf) && rr.err == nil {
			return rr.long(length)
		}
		return entry{}, flawCut
	}
	body := rr.b[:length]
	rr.b = rr.b[length:]
	return parseEntry(body)
}

// length reads the length before a record.
func (rr *recordReader) length() (int, flaw) {
	if len(rr.b) < binary.MaxVarintLen32 {
		rr.fill(binary.MaxVarintLen32)
	}
	n, size := varint32(rr.b)
	switch {
	case size == 0:
		return 0, flawCut
	case size < 0 || n < 0:
		return 0, flawLength
	}
	rr.b = rr.b[size:]
	return int(n), ""
}

// body reads a whole record of at most limit bytes: the window grows to hold it.
func (rr *recordReader) body(limit int) ([]byte, flaw, error) {
	length, bad := rr.length()
	switch {
	case bad != "":
		return nil, bad, nil
	case length > len(rr.b) && rr.r == nil:
		return nil, flawCut, nil
	case length > len(rr.b) && length > limit:
		return nil, "", fmt.Errorf("%w: a record of %d bytes, at most %d", ErrDecompress, length, limit)
	}
	for length > len(rr.b) {
		if rr.fill(min(length, len(rr.buf))); length <= len(rr.b) {
			break
		}
		if rr.err != nil {
			return nil, flawCut, nil
		}
		// At most twice the bytes that have come already, so that a false length costs little.
		grown := make([]byte, min(max(2*len(rr.buf), windowSize), max(length, windowSize)))
		rr.b = grown[:copy(grown, rr.b)]
		rr.buf = grown
	}
	body := rr.b[:length:length]
	rr.b = rr.b[length:]
	return body, "", nil
}

// fill makes b hold n bytes. It returns false if the window is smaller, or the
// stream ends before.
func (rr *recordReader) fill(n int) bool {
	if rr.r == nil || n > len(rr.buf) || rr.err != nil {
		return len(rr.b) >= n
	}
	have := copy(rr.buf, rr.b)
	for idle := 0; have < n && rr.err == nil; idle++ {
		got, err := rr.r.Read(rr.buf[have:])
		have += got
		rr.left -= int64(got)
		rr.took += got
		switch {
		case err != nil:
			rr.err = err
		case rr.left < 0:
			rr.err = errExpands
		case rr.ctx.Err() != nil:
			rr.err = context.Cause(rr.ctx)
		case rr.took >= turnBytes:
			rr.took, idle = 0, -1
			if err := rr.room.turn(rr.ctx); err != nil {
				rr.waits, rr.err = true, err
			}
		case got > 0:
			idle = -1
		case idle == 100:
			rr.err = io.ErrNoProgress
		}
	}
	rr.b = rr.buf[:have]
	return have >= n
}

// rest returns how many bytes lie behind the last record, up to the size of the window,
// and the error with which the stream ended, if any.
func (rr *recordReader) rest() (int, error) {
	if len(rr.b) == 0 {
		rr.fill(1)
	}
	return len(rr.b), rr.failed()
}

// failed returns the error with which the stream ended, nil at its proper end.
func (rr *recordReader) failed() error {
	if rr.err == nil || errors.Is(rr.err, io.EOF) {
		return nil
	}
	return rr.err
}

// parseEntry reads the record in b, without the length before it.
func parseEntry(b []byte) (e entry, bad flaw) {
	if len(b) == 0 {
		return e, flawCut
	}
	b = b[1:]
	var n int32
	var size int
	if e.timestamp, size = varint64(b); size <= 0 {
		return e, flawTimestamp
	}
	b = b[size:]
	if e.offset, size = varint32(b); size <= 0 {
		return e, flawOffset
	}
	b = b[size:]
	if n, size = varint32(b); size <= 0 || n < -1 || int(n) > len(b)-size {
		return e, flawKey
	}
	e.keyed = n >= 0
	b = b[size+max(int(n), 0):]
	if n, size = varint32(b); size <= 0 || n < -1 || int(n) > len(b)-size {
		return e, flawValue
	}
	b = b[size+max(int(n), 0):]
	if n, size = varint32(b); size <= 0 || n < 0 || int(n) > (len(b)-size)/2 {
		return e, flawHeaders
	}
	b = b[size:]
	if n > 0 {
		if b, bad = stepHeaders(b, int(n)); bad != "" {
			return e, bad
		}
	}
	if len(b) != 0 {
		return e, flawRest
	}
	return e, ""
}

// stepHeaders returns the bytes after n headers.
func stepHeaders(b []byte, n int) ([]byte, flaw) {
	for range n {
		k, size := varint32(b)
		switch {
		case size > 0 && k == -1:
			return nil, flawHeaderKey
		case size <= 0 || k < 0 || int(k) > len(b)-size:
			return nil, flawHeader
		}
		b = b[size+int(k):]
		v, size := varint32(b)
		if size <= 0 || v < -1 || int(v) > len(b)-size {
			return nil, flawHeader
		}
		b = b[size+max(int(v), 0):]
	}
	return b, ""
}

// long reads a record of length bytes that does not fit into the window.
func (rr *recordReader) long(length int) (e entry, bad flaw) {
	p := piecewise{recordReader: rr, left: int64(length)}
	p.skip(1)
	if e.timestamp = p.varint64(); p.bad {
		return e, p.or(flawTimestamp)
	}
	if e.offset = p.varint32(); p.bad {
		return e, p.or(flawOffset)
	}
	n := p.varint32()
	if e.keyed = n >= 0; !p.field(n) {
		return e, p.or(flawKey)
	}
	if !p.field(p.varint32()) {
		return e, p.or(flawValue)
	}
	headers := p.varint32()
	if p.bad || headers < 0 || int64(headers) > p.left/2 {
		return e, p.or(flawHeaders)
	}
	for range headers {
		k := p.varint32()
		if !p.bad && k == -1 {
			return e, flawHeaderKey
		}
		if !p.field(k) || !p.field(p.varint32()) {
			return e, p.or(flawHeader)
		}
	}
	if p.left != 0 {
		p.skip(p.left)
		return e, p.or(flawRest)
	}
	return e, ""
}

// piecewise reads a record of which left bytes are left. Once bad, it stays bad and
// returns zeros.
type piecewise struct {
	*recordReader
	left int64
	bad  bool
	cut  bool // the stream ended
}

func (p *piecewise) or(bad flaw) flaw {
	if p.cut {
		return flawCut
	}
	return bad
}

// field steps over a key or value of n bytes, and reports whether it could.
func (p *piecewise) field(n int32) bool {
	if p.bad || n < -1 || int64(n) > p.left {
		p.bad = true
		return false
	}
	p.skip(int64(max(n, 0)))
	return !p.bad
}

func (p *piecewise) skip(n int64) {
	p.left -= n
	for n > 0 && !p.bad {
		if len(p.b) == 0 && !p.fill(1) {
			p.bad, p.cut = true, true
			return
		}
		step := int(min(n, int64(len(p.b))))
		p.b = p.b[step:]
		n -= int64(step)
	}
}

// head returns the part of the window that belongs to the record, enough for a varint.
func (p *piecewise) head() []byte {
	if len(p.b) < binary.MaxVarintLen64 {
		p.fill(binary.MaxVarintLen64)
	}
	return p.b[:min(int64(len(p.b)), p.left)]
}

func (p *piecewise) varint32() int32 {
	if p.bad {
		return 0
	}
	v, size := varint32(p.head())
	p.took(size)
	return v
}

func (p *piecewise) varint64() int64 {
	if p.bad {
		return 0
	}
	v, size := varint64(p.head())
	p.took(size)
	return v
}

func (p *piecewise) took(size int) {
	if size <= 0 {
		p.bad, p.cut = true, size == 0 && p.left > int64(len(p.b))
		return
	}
	p.b = p.b[size:]
	p.left -= int64(size)
}

// varint32 reads a zigzag varint of at most 32 bits. Like Kafka's clients, it fails at a
// longer one, even if that is a small number. size is 0 if b is too short, and negative if
// the number is too long.
func varint32(b []byte) (v int32, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int32(b[0]>>1) ^ -int32(b[0]&1), 1
	}
	return longVarint32(b)
}

func longVarint32(b []byte) (int32, int) {
	u, size := binary.Uvarint(b[:min(len(b), binary.MaxVarintLen32)])
	switch {
	case size == 0 && len(b) >= binary.MaxVarintLen32, u > math.MaxUint32:
		return 0, -1
	case size <= 0:
		return 0, size
	}
	return int32(uint32(u)>>1) ^ -int32(u&1), size
}

// varint64 is varint32 for 64 bits.
func varint64(b []byte) (v int64, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	return binary.Varint(b)
}
