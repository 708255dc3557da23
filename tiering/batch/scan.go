package batch

import (
	"context"
	"errors"
	"fmt"
)

// Meta is a record without its key, value and headers.
type Meta struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Keyed     bool  // its key is not null
}

// Scan calls fn for each record of the batch that starts b, until fn returns false.
// Records are decoded in a stream, in little memory whatever they expand to, which is
// taken from room. Every record is checked before fn gets it; a malformed one is
// ErrCorruptBatch, after fn was called for the records before it. ErrDecompress is a batch
// that takes more memory or time than any honest one. The CRC is not checked.
func Scan(ctx context.Context, room *Room, b []byte, fn func(Meta) bool) error {
	h, err := Parse(b)
	if err != nil {
		return err
	}
	return classed(ctx, scan(ctx, room, b, h, fn))
}

func scan(ctx context.Context, room *Room, b []byte, h Header, fn func(Meta) bool) error {
	var o opened
	if err := o.open(ctx, room, b, h); err != nil {
		return err
	}
	defer o.close()
	last := int32(-1)
	for i := range h.Records {
		e, bad := o.reader.next()
		if bad != "" {
			return o.reader.flawed(i, h, bad)
		}
		if err := rising(i, h, last, e.offset); err != nil {
			return err
		}
		last = e.offset
		m := Meta{Offset: h.BaseOffset + int64(e.offset), Timestamp: h.timeOf(e), Keyed: e.keyed}
		if !fn(m) {
			return nil
		}
	}
	return o.finished(h)
}

// timeOf returns the timestamp of a record.
func (h *Header) timeOf(e entry) int64 {
	if h.LogAppendTime() {
		return h.MaxTimestamp
	}
	return h.BaseTimestamp + e.timestamp
}

// rising checks the offset of a stored record: it may leave offsets out.
func rising(i int32, h Header, last, delta int32) error {
	if delta <= last || delta > h.LastOffsetDelta {
		return fmt.Errorf("record %d of %d has offset delta %d after %d, last of the batch is %d", i, h.Records, delta, last, h.LastOffsetDelta)
	}
	return nil
}

// opened has the records of a batch as they are read: open, the reader, finished, and
// close if open returned no error.
type opened struct {
	reader recordReader
	plan   plan
	stream *stream
	room   *Room
}

// open prepares to decode the records of the batch h, which starts b, and takes the memory
// for it from room. Records that are not compressed take none.
func (o *opened) open(ctx context.Context, room *Room, b []byte, h Header) (err error) {
	src := b[HeaderSize:h.Size()]
	if h.Compression() == None {
		o.reader = recordReader{b: src}
		return nil
	}
	if o.plan, err = planFor(h.Compression(), src); err != nil {
		return undecodable(h, err)
	}
	if err := room.enter(ctx, o.memory()); err != nil {
		return err
	}
	o.room, o.stream = room, streams.Get().(*stream)
	if err := o.stream.open(ctx, &o.plan, &o.reader); err != nil {
		o.close()
		return undecodable(h, err)
	}
	o.reader.room = room
	return nil
}

func (o *opened) memory() int64 { return smallMemory + o.plan.memory }

func (o *opened) close() {
	if o.stream != nil {
		o.stream.release()
		o.room.leave(o.memory(), o.reader.waits)
	}
}

// finished checks that the records, and the bytes they were decoded from, end with the
// last record.
func (o *opened) finished(h Header) error {
	n, err := o.reader.rest()
	switch {
	case n > 0:
		return fmt.Errorf("bytes behind the last of %d records", h.Records)
	case err != nil:
		return undecodable(h, err)
	case o.stream != nil && len(o.stream.in.b) > 0 && o.reader.r != nil && o.plan.codec == LZ4:
		return fmt.Errorf("%d bytes behind the end of the compressed records", len(o.stream.in.b))
	}
	return nil
}

func undecodable(h Header, err error) error {
	return fmt.Errorf("decompress %s records: %w", h.Compression(), err)
}

// flawed returns the error of record i, or that of the decoder if it failed there.
func (rr *recordReader) flawed(i int32, h Header, bad flaw) error {
	if err := rr.failed(); err != nil {
		return fmt.Errorf("decompress %s records at record %d of %d: %w", h.Compression(), i, h.Records, err)
	}
	return fmt.Errorf("record %d of %d %s", i, h.Records, bad)
}

// classed gives an error about a stored batch its class. An error of a context that has
// ended keeps its own.
func classed(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrCodec) || errors.Is(err, ErrDecompress) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorruptBatch, err)
}
