package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/segment"
)

// A file of the log, integers big-endian:
//
//	offset size
//	0      8    magic "VARVEWAL"
//	8      2    version: 1
//	10     2    zero
//	12     4    journal
//	16     16   cluster id
//	32     16   node id
//	48     16   incarnation id
//	64     8    file number in the incarnation: 1, 2, 3 ...
//	72     8    LSN of the first record of the file
//	80     428  zero
//	508    4    CRC-32C of bytes 0 to 507: the header CRC
//	512         records back to back, each at a multiple of 8
//
// Every version keeps magic, version and header CRC in place, so that a program
// can distinguish a newer file from a damaged one.
//
// A record:
//
//	0      4    length of the record without padding; 0 ends the file
//	4      4    CRC-32C, continued from the header CRC, of bytes 0 to 3 and 8 to length
//	8      8    LSN
//	16     8    synced: all records up to this LSN were durable when this was written
//	24     16   topic id
//	40     4    partition
//	44     4    journal epoch
//	48     8    base offset
//	56          the batch
//	            zeros up to a multiple of 8
//
// A mark is a record of 24 bytes: it ends before the topic id, carries the LSN
// that the next record will have, and is overwritten by that record. The writer
// leaves one after the last record when a sync has finished and no record is
// waiting.
//
// The CRC starts from the header CRC because files are recycled. Bytes from an
// earlier use of a file were sealed with another header, and a CRC of the same
// bytes from another start is always another CRC.
//
// The synced field distinguishes a torn tail from damage. A power failure may
// keep any subset of the writes since the last fdatasync, so a bad record with
// good ones after it is not unusual. But if a later record says that the bad
// one was durable, the disk has lost durable bytes.
const (
	fileMagic   = "VARVEWAL"
	fileVersion = 1

	headerSize  = 512
	headerCRCAt = headerSize - 4

	recordHeaderSize = 56
	markSize         = 24
	recordAlign      = 8
)

// MaxRecord is the largest size of a record in bytes: the largest batch a
// client may send (32 MiB) and a margin for its frame. Longer records are
// neither written nor read.
const MaxRecord = 32<<20 + 64<<10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors that callers decide on; test with errors.Is.
var (
	// ErrUnsupported: the file was written by a newer version of varve.
	ErrUnsupported = errors.New("unsupported version of a write-ahead file")
	// ErrForeign: the file belongs to another cluster, node or journal.
	ErrForeign = errors.New("write-ahead file belongs to another cluster, node or journal")
	// ErrTooLarge: the record is longer than MaxRecord, or than a file can hold.
	ErrTooLarge = errors.New("record too large for the write-ahead log")

	errBadHeader = errors.New("bad file header")
)

// Record is one record batch and its place.
type Record struct {
	LSN        uint64     // log sequence number, from 1, set by Append
	Topic      segment.ID // with Index: the partition
	Index      int32
	Epoch      uint32 // journal epoch under which it was appended
	BaseOffset int64
	Batch      []byte // never empty
	// Memory holds Batch; nil: the garbage collector does. Append retains it until the
	// record is written to a file.
	Memory *buffer.Buffer
	// CRC is the CRC-32C of Batch, from a caller that has checked it and knows
	// it without reading Batch; 0: the log computes it.
	CRC uint32

	held int64 // bytes of memory that count for it until it is written
}

// fileHeader identifies a file.
type fileHeader struct {
	Cluster, Node, Incarnation segment.ID
	Journal                    uint32
	Number                     uint64 // from 1
	FirstLSN                   uint64 // from 1
}

// encode returns the header's bytes and its CRC, from which the records' CRCs
// start.
func (h fileHeader) encode() ([]byte, uint32) {
	b := make([]byte, headerSize)
	copy(b, fileMagic)
	binary.BigEndian.PutUint16(b[8:], fileVersion)
	binary.BigEndian.PutUint32(b[12:], h.Journal)
	copy(b[16:], h.Cluster[:])
	copy(b[32:], h.Node[:])
	copy(b[48:], h.Incarnation[:])
	binary.BigEndian.PutUint64(b[64:], h.Number)
	binary.BigEndian.PutUint64(b[72:], h.FirstLSN)
	crc := crc32.Checksum(b[:headerCRCAt], castagnoli)
	binary.BigEndian.PutUint32(b[headerCRCAt:], crc)
	return b, crc
}

// decodeHeader decodes a header of headerSize bytes. The error is errBadHeader,
// with the reason, or ErrUnsupported.
func decodeHeader(b []byte) (fileHeader, uint32, error) {
	var h fileHeader
	if len(b) != headerSize || string(b[:8]) != fileMagic {
		return h, 0, fmt.Errorf("%w: no magic", errBadHeader)
	}
	crc := crc32.Checksum(b[:headerCRCAt], castagnoli)
	if crc != binary.BigEndian.Uint32(b[headerCRCAt:]) {
		return h, 0, fmt.Errorf("%w: CRC mismatch", errBadHeader)
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != fileVersion {
		return h, 0, fmt.Errorf("%w: version %d, this program reads version %d", ErrUnsupported, v, fileVersion)
	}
	h.Journal = binary.BigEndian.Uint32(b[12:])
	copy(h.Cluster[:], b[16:])
	copy(h.Node[:], b[32:])
	copy(h.Incarnation[:], b[48:])
	h.Number = binary.BigEndian.Uint64(b[64:])
	h.FirstLSN = binary.BigEndian.Uint64(b[72:])
	if h.Number == 0 || h.FirstLSN == 0 {
		return h, 0, fmt.Errorf("%w: zero file number or LSN", errBadHeader)
	}
	return h, crc, nil
}

// recordSize returns the space that a record with a batch of n bytes takes in a
// file.
func recordSize(n int) int {
	return (recordHeaderSize + n + recordAlign - 1) &^ (recordAlign - 1)
}

// appendRecordHeader appends the 56 bytes before r's batch.
func appendRecordHeader(dst []byte, seed uint32, r *Record, synced uint64) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(recordHeaderSize+len(r.Batch)))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, r.LSN)
	dst = binary.BigEndian.AppendUint64(dst, synced)
	dst = append(dst, r.Topic[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.Index))
	dst = binary.BigEndian.AppendUint32(dst, r.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.BaseOffset))
	h := dst[start:]
	crc := frameCRC(seed, h)
	if r.CRC != 0 {
		crc = batch.AppendCRC(crc, r.CRC, len(r.Batch))
	} else {
		crc = crc32.Update(crc, castagnoli, r.Batch)
	}
	binary.BigEndian.PutUint32(h[4:], crc)
	return dst
}

// appendMark appends the mark that says that all records below next are
// durable.
func appendMark(dst []byte, seed uint32, next uint64) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, markSize)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, next)
	dst = binary.BigEndian.AppendUint64(dst, next-1)
	m := dst[start:]
	binary.BigEndian.PutUint32(m[4:], frameCRC(seed, m))
	return dst
}

// frameCRC returns the CRC of a record's bytes without the CRC field.
func frameCRC(seed uint32, b []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, b[:4]), castagnoli, b[8:])
}

// frame is the common part of records and marks.
type frame struct {
	length int // without padding
	lsn    uint64
	synced uint64
}

func (f frame) isMark() bool { return f.length == markSize }

// size is the space that the frame takes in the file.
func (f frame) size() int { return (f.length + recordAlign - 1) &^ (recordAlign - 1) }

// decodeFrame decodes the first markSize bytes of a record and reports whether
// the length is possible. It does not check the CRC, which needs the whole
// record.
func decodeFrame(b []byte) (frame, bool) {
	n := binary.BigEndian.Uint32(b)
	if n != markSize && (n <= recordHeaderSize || n > MaxRecord) {
		return frame{length: int(n)}, false
	}
	return frame{
		length: int(n),
		lsn:    binary.BigEndian.Uint64(b[8:]),
		synced: binary.BigEndian.Uint64(b[16:]),
	}, true
}

// checkFrame reports whether b, a whole record without padding, is intact.
func checkFrame(b []byte, seed uint32) bool {
	return binary.BigEndian.Uint32(b[4:]) == frameCRC(seed, b)
}

// decodeRecord decodes a checked record that is not a mark. The batch is part
// of b.
func decodeRecord(b []byte) Record {
	r := Record{
		LSN:        binary.BigEndian.Uint64(b[8:]),
		Index:      int32(binary.BigEndian.Uint32(b[40:])),
		Epoch:      binary.BigEndian.Uint32(b[44:]),
		BaseOffset: int64(binary.BigEndian.Uint64(b[48:])),
		Batch:      b[recordHeaderSize:],
	}
	copy(r.Topic[:], b[24:])
	return r
}
