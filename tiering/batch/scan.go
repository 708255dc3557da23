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
// Records are decoded in a stream, in little memory whatever they expand to, which
// is taken from room. Every record is checked before fn sees it; malformed ones are
// ErrCorruptBatch, after those before them have been passed on. ErrDecompress is a
// batch that takes more memory or time than any honest one. The CRC is not checked.
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
		e, bad := o.walker.next()
		if bad != "" {
			return o.walker.flawed(i, h, bad)
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

// timeOf is the timestamp of a record.
func (h *Header) timeOf(e entry) int64 {
	if h.LogAppendTime() {
		return h.MaxTimestamp
	}
	return h.BaseTimestamp + e.timestamp
}

// rising checks the offset of a stored record: offsets may be left out.
func rising(i int32, h Header, last, delta int32) error {
	if delta <= last || delta > h.LastOffsetDelta {
		return fmt.Errorf("record %d of %d has offset delta %d after %d, last of the batch is %d", i, h.Records, delta, last, h.LastOffsetDelta)
	}
	return nil
}

// opened is the records of a batch as they are walked: open, the walker, finished,
// and close if open gave no error.
type opened struct {
	walker walker
	plan   plan
	stream *stream
	room   *Room
}

// open takes what decoding the records of the batch h takes, which starts b. It
// takes nothing for records that are not compressed.
func (o *opened) open(ctx context.Context, room *Room, b []byte, h Header) (err error) {
	src := b[HeaderSize:h.Size()]
	if h.Compression() == None {
		o.walker = walker{b: src}
		return nil
	}
	if o.plan, err = planFor(h.Compression(), src); err != nil {
		return undecodable(h, err)
	}
	if err := room.enter(ctx, o.memory()); err != nil {
		return err
	}
	o.room, o.stream = room, streams.Get().(*stream)
	if err := o.stream.open(ctx, &o.plan, &o.walker); err != nil {
		o.close()
		return undecodable(h, err)
	}
	o.walker.room = room
	return nil
}

func (o *opened) memory() int64 { return smallMemory + o.plan.memory }

func (o *opened) close() {
	if o.stream != nil {
		o.stream.release()
		o.room.leave(o.memory(), o.walker.waits)
	}
}

// finished checks that the records, and the bytes they come from, end with the last
// record.
func (o *opened) finished(h Header) error {
	n, err := o.walker.rest()
	switch {
	case n > 0:
		return fmt.Errorf("bytes behind the last of %d records", h.Records)
	case err != nil:
		return undecodable(h, err)
	case o.stream != nil && len(o.stream.in.b) > 0 && o.walker.r != nil && o.plan.codec == LZ4:
		return fmt.Errorf("%d bytes behind the end of the compressed records", len(o.stream.in.b))
	}
	return nil
}

func undecodable(h Header, err error) error {
	return fmt.Errorf("decompress %s records: %w", h.Compression(), err)
}

// flawed is the error of record i, or what the decoder says if it failed there.
func (w *walker) flawed(i int32, h Header, bad flaw) error {
	if err := w.failed(); err != nil {
		return fmt.Errorf("decompress %s records at record %d of %d: %w", h.Compression(), i, h.Records, err)
	}
	return fmt.Errorf("record %d of %d %s", i, h.Records, bad)
}

// classed gives an error about a stored batch its class. An error of a context that
// has ended has none.
func classed(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrCodec) || errors.Is(err, ErrDecompress) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorruptBatch, err)
}
