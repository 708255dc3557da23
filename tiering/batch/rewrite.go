package batch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrVerbatim is a batch that must stay as it is: a transaction's, a transaction marker, or
// one whose records cannot be decoded or expand to too many bytes.
var ErrVerbatim = errors.New("batch must stay as it is")

// maxRewritten is how many bytes of records Rewrite holds in memory. The largest batch of a
// topic has 32 MiB, so only batches that compress well have more.
const maxRewritten = 64 << 20

// Rewriting says how a stored batch is written again.
type Rewriting struct {
	Codec     Codec
	Level     int               // as Kafka's topic config compression.*.level of the codec
	Keep      func(Record) bool // which records stay; nil: all of them
	MaxRecord int               // bytes of the largest record that is decoded
}

// Rewrite appends to dst the batch that starts b with the records that stay, compressed by
// another codec or level. The bytes of each record stay as they were. Of the header only
// codec, length, CRC, number of records and greatest timestamp change. So a batch keeps
// its offsets, producer and sequence numbers, also those of records that are left out, as
// Kafka's log cleaner does it (KIP-98).
//
// kept is the number of records that stay. If it is zero, nothing is appended. The
// error is ErrVerbatim for a batch that must not be changed; dst is returned as it was.
// The CRC of b is not checked.
func Rewrite(dst, b []byte, opt Rewriting) (out []byte, kept int, err error) {
	h, err := Parse(b)
	if err != nil {
		return dst, 0, err
	}
	if h.Transactional() || h.Control() {
		return dst, 0, fmt.Errorf("%w: it is part of a transaction", ErrVerbatim)
	}
	raw, kept, latest, err := chosen(b, h, opt)
	if err != nil {
		return dst, 0, fmt.Errorf("%w: %w", ErrVerbatim, err)
	}
	if kept == 0 {
		return dst, 0, nil
	}
	start := len(dst)
	out = append(dst, b[:HeaderSize]...)
	if out, err = compress(out, raw, opt.Codec, opt.Level); err != nil {
		return dst, 0, err
	}
	if !h.LogAppendTime() {
		binary.BigEndian.PutUint64(out[start+posMaxTimestamp:], uint64(latest))
	}
	seal(out[start:], h.Attributes&^codecMask|int16(opt.Codec), kept)
	return out, kept, nil
}

// seal sets the fields of a header that depend on the records behind it.
func seal(b []byte, attributes int16, records int) {
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-lengthOverhead))
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attributes))
	binary.BigEndian.PutUint32(b[posRecords:], uint32(records))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[CRCStart:], castagnoli))
}

// chosen returns the bytes of the records that stay, not compressed, their number, and the
// greatest of their timestamps.
func chosen(b []byte, h Header, opt Rewriting) (raw []byte, kept int, latest int64, err error) {
	latest = -1
	large := false
	err = each(b, h, opt.MaxRecord, func(body []byte, r Record) bool {
		if opt.Keep != nil && !opt.Keep(r) {
			return true
		}
		if large = len(raw)+len(body) > maxRewritten; large {
			return false
		}
		raw = binary.AppendVarint(raw, int64(len(body)))
		raw = append(raw, body...)
		kept++
		latest = max(latest, r.Timestamp)
		return true
	})
	if err == nil && large {
		err = fmt.Errorf("its records expand to more than %d bytes", maxRewritten)
	}
	return raw, kept, latest, err
}

// each calls fn for each record, with the bytes that stand behind its length.
func each(b []byte, h Header, maxRecord int, fn func(body []byte, r Record) bool) error {
	ctx := context.Background()
	return classed(ctx, bodies(ctx, b, h, maxRecord, fn))
}
