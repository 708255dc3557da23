package batch

import (
	"encoding/binary"
	"hash/crc32"
)

// Build returns a batch of records as a plain producer sends it, not compressed and not
// idempotent, and its header. The offset of a record is its index; its Timestamp is kept.
// There must be at least one record.
func Build(records []Record) ([]byte, Header) {
	size := HeaderSize
	latest := records[0].Timestamp
	for i := range records {
		size += maxRecordOverhead + len(records[i].Key) + len(records[i].Value) + len(records[i].Headers.raw)
		latest = max(latest, records[i].Timestamp)
	}
	b := make([]byte, HeaderSize, size)
	for i := range records {
		b = appendRecord(b, &records[i], i, records[0].Timestamp)
	}
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-lengthOverhead))
	b[posMagic] = magicV2
	binary.BigEndian.PutUint32(b[23:], uint32(len(records)-1))
	binary.BigEndian.PutUint64(b[27:], uint64(records[0].Timestamp))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(latest))
	for i := 43; i < 57; i++ {
		b[i] = 0xff // no producer id, epoch or sequence
	}
	binary.BigEndian.PutUint32(b[posRecords:], uint32(len(records)))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
	return b, decode((*[HeaderSize]byte)(b))
}

// maxRecordOverhead is the most bytes that a record takes in addition to its key, value
// and headers: its attributes and six varints.
const maxRecordOverhead = 1 + 6*binary.MaxVarintLen32 + binary.MaxVarintLen64

// appendRecord appends a record as recordReader.next reads it, with its length before it.
func appendRecord(b []byte, r *Record, offsetDelta int, baseTimestamp int64) []byte {
	var scratch [32]byte
	head := append(scratch[:0], 0)
	head = binary.AppendVarint(head, r.Timestamp-baseTimestamp)
	head = binary.AppendVarint(head, int64(offsetDelta))
	length := len(head) + bytesSize(r.Key) + bytesSize(r.Value) + varintSize(int64(r.Headers.n)) + len(r.Headers.raw)
	b = binary.AppendVarint(b, int64(length))
	b = append(b, head...)
	b = appendBytes(b, r.Key)
	b = appendBytes(b, r.Value)
	b = binary.AppendVarint(b, int64(r.Headers.n))
	return append(b, r.Headers.raw...)
}

func appendBytes(b, value []byte) []byte {
	if value == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(value))), value...)
}

func bytesSize(value []byte) int {
	if value == nil {
		return varintSize(-1)
	}
	return varintSize(int64(len(value))) + len(value)
}

func varintSize(v int64) int {
	var scratch [binary.MaxVarintLen64]byte
	return binary.PutVarint(scratch[:], v)
}
