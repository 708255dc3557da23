// Package batch reads and patches Kafka record batches of format version 2: their
// 61-byte header, and their records.
//
// It owns the checks that a broker makes of a produced batch, and the few fields that
// a broker writes: base offset, leader epoch, and the times. It owns the walk through
// batches that lie back to back (Walker), which checks where each one belongs.
// Parse, Validate, Patch, Walk and Walker do not allocate and never look at the
// records. Check, Scan and Records decode the records in a stream. Their memory is
// bounded whatever the records expand to; a Room bounds it for requests of clients.
// Build makes the batches that a broker writes itself.
//
// Rewrite
// writes a stored batch again, with fewer records or another codec. The package never
// converts other message formats. It keeps no
// state: sequence numbers are left to the caller, which knows the partition.
//
// Format: KIP-98, https://kafka.apache.org/documentation/#recordbatch. All
// integers are big-endian.
//
//	 0  8  base offset             written by the broker, outside the CRC
//	 8  4  batch length            bytes after this field, 49 or more
//	12  4  partition leader epoch  written by the broker, outside the CRC
//	16  1  magic                   2
//	17  4  CRC-32C                 of everything from the attributes on
//	21  2  attributes              bits 0-2 codec, 3 log append time,
//	                               4 transactional, 5 control, 6 delete horizon
//	23  4  last offset delta       offset of the last record less the base offset
//	27  8  base timestamp          Unix milliseconds
//	35  8  max timestamp           Unix milliseconds, -1 if there is none
//	43  8  producer id             -1 if the producer is not idempotent
//	51  2  producer epoch
//	53  4  base sequence
//	57  4  record count
//	61     records, compressed as a whole
package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// Sizes and positions of the header's fields, in bytes.
const (
	HeaderSize = 61 // all fields before the records
	CRCStart   = 21 // the CRC covers all from here on

	posLength       = 8
	posLeaderEpoch  = 12
	posMagic        = 16
	posCRC          = 17
	posAttributes   = CRCStart
	posMaxTimestamp = 35
	posRecords      = 57

	lengthOverhead = 12              // base offset and length, which the length does not count
	minLength      = HeaderSize - 12 // of a batch without records
	magicV2        = 2
)

// Attribute bits.
const (
	codecMask        = 0x07
	bitLogAppendTime = 0x08
	bitTransactional = 0x10
	bitControl       = 0x20
)

// Codec is how a batch's records are compressed.
type Codec int8

// The codecs of the protocol; zstd since KIP-110.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// Known reports whether the protocol defines the codec.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String returns the codec as compression.type spells it.
func (c Codec) String() string {
	if !c.Known() {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return [...]string{"none", "gzip", "snappy", "lz4", "zstd"}[c]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the header of a batch.
type Header struct {
	BaseOffset      int64
	Length          int32 // bytes after the length field
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // Unix milliseconds
	MaxTimestamp    int64 // Unix milliseconds, -1 if there is none
	ProducerID      int64 // -1 if not idempotent
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// Size returns the length of the whole batch in bytes.
func (h Header) Size() int { return lengthOverhead + int(h.Length) }

// LastOffset returns the offset of the last record.
func (h Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// LastSequence returns the sequence number of the last record. After 2^31-1 comes 0. It is
// -1 if the batch has no sequence numbers.
func (h Header) LastSequence() int32 {
	if h.BaseSequence < 0 {
		return -1
	}
	return int32((int64(h.BaseSequence) + int64(h.LastOffsetDelta)) & math.MaxInt32)
}

// Compression returns the codec of the records, which may be one that is not Known.
func (h Header) Compression() Codec { return Codec(h.Attributes & codecMask) }

// Control reports whether the batch is a transaction marker.
func (h Header) Control() bool { return h.Attributes&bitControl != 0 }

// Transactional reports whether the batch is part of a transaction.
func (h Header) Transactional() bool { return h.Attributes&bitTransactional != 0 }

// LogAppendTime reports whether MaxTimestamp is the broker's time and holds for
// every record.
func (h Header) LogAppendTime() bool { return h.Attributes&bitLogAppendTime != 0 }

// UpTo returns the greatest timestamp that a record of the batch may have. New batches
// have it in their header, because Check corrects it. In batches of older versions,
// clients wrote -1, or the time of the first record, which is the base timestamp.
func (h Header) UpTo() int64 {
	if h.LogAppendTime() || h.MaxTimestamp > h.BaseTimestamp || h.Records == 1 && h.MaxTimestamp == h.BaseTimestamp {
		return h.MaxTimestamp
	}
	return math.MaxInt64
}

// Parse reads the header of the batch that starts b; more may follow it. If b holds less
// than the batch, the error is ErrShort. Then the header is returned if b holds all of it,
// so that its Size shows how much is missing; else it is zero. Other errors are ErrMagic
// and ErrCorruptBatch. The CRC is not checked.
func Parse(b []byte) (Header, error) {
	if err := checkHeader(b); err != nil {
		return Header{}, err
	}
	h := decode((*[HeaderSize]byte)(b))
	if len(b) < h.Size() {
		return h, ErrShort
	}
	return h, nil
}

// checkHeader checks that b starts with a whole header, which names a possible length.
func checkHeader(b []byte) error {
	if len(b) <= posMagic {
		return ErrShort
	}
	switch m := int8(b[posMagic]); {
	case m == 0 || m == 1:
		return ErrOldMagic
	case m != magicV2:
		return errUnknownMagic
	}
	length := int32(binary.BigEndian.Uint32(b[posLength:]))
	if length < minLength || length > math.MaxInt32-lengthOverhead {
		return errLength
	}
	if len(b) < HeaderSize {
		return ErrShort
	}
	return nil
}

func decode(b *[HeaderSize]byte) Header {
	return Header{
		BaseOffset:      int64(binary.BigEndian.Uint64(b[0:])),
		Length:          int32(binary.BigEndian.Uint32(b[posLength:])),
		LeaderEpoch:     int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])),
		Magic:           int8(b[posMagic]),
		CRC:             binary.BigEndian.Uint32(b[posCRC:]),
		Attributes:      int16(binary.BigEndian.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[23:])),
		BaseTimestamp:   int64(binary.BigEndian.Uint64(b[27:])),
		MaxTimestamp:    int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])),
		ProducerID:      int64(binary.BigEndian.Uint64(b[43:])),
		ProducerEpoch:   int16(binary.BigEndian.Uint16(b[51:])),
		BaseSequence:    int32(binary.BigEndian.Uint32(b[53:])),
		Records:         int32(binary.BigEndian.Uint32(b[57:])),
	}
}

// CheckCRC reports whether the bytes of the batch h, which start b, have the CRC
// that h names. h must come from Parse(b) without an error.
func CheckCRC(b []byte, h Header) bool {
	return crc32.Checksum(b[posAttributes:h.Size()], castagnoli) == h.CRC
}

// CheckCRCParts is CheckCRC for a batch that lies in several pieces of memory. They hold
// that batch and no more.
func CheckCRCParts(parts [][]byte, h Header) bool {
	crc, before := uint32(0), posAttributes
	for _, b := range parts {
		skip := min(before, len(b))
		before -= skip
		crc = crc32.Update(crc, castagnoli, b[skip:])
	}
	return crc == h.CRC
}

// Patch writes the fields that a broker assigns: the base offset and the partition's
// leader epoch. Both lie outside the CRC. b starts with a whole header.
func Patch(b []byte, baseOffset int64, leaderEpoch int32) {
	_ = b[HeaderSize-1]
	binary.BigEndian.PutUint64(b, uint64(baseOffset))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(leaderEpoch))
}

// SetLogAppendTime makes nowMs, in Unix milliseconds, the time of every record
// of the batch that starts b, as message.timestamp.type=LogAppendTime asks: the
// attribute, the max timestamp, and the CRC. Parse must have accepted b.
func SetLogAppendTime(b []byte, nowMs int64) {
	attributes := binary.BigEndian.Uint16(b[posAttributes:])
	binary.BigEndian.PutUint16(b[posAttributes:], attributes|bitLogAppendTime)
	SetMaxTimestamp(b, nowMs)
}

// SetMaxTimestamp sets the max timestamp of the batch that starts b, in Unix
// milliseconds, and its CRC. Parse must have accepted b.
func SetMaxTimestamp(b []byte, ts int64) {
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ts))
	size := lengthOverhead + int(binary.BigEndian.Uint32(b[posLength:]))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:size], castagnoli))
}

// Walk calls fn for each of the batches that lie back to back in b, with the
// position of the batch in b, whatever their offsets are. It stops at fn's error and
// returns it as it is. An end inside a batch is ErrShort: fn has been called for the
// whole batches before it.
func Walk(b []byte, fn func(pos int, h Header) error) error {
	for w := bytesOf(b); w.Left() > 0; {
		pos := int(w.Position())
		h, err := w.Parse(b[pos:])
		if err != nil {
			return fmt.Errorf("parse batch at position %d: %w", pos, err)
		}
		if err := fn(pos, h); err != nil {
			return err
		}
		w.Skip(&h)
	}
	return nil
}
