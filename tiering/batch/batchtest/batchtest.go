// Package batchtest makes Kafka record batches for tests, as a client would
// encode them. It promises batches that package batch accepts unless the Spec
// asks for something else. It is not for use outside tests: it panics on a Spec
// it cannot encode.
package batchtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/varvelog/varve/tiering/batch"
)

// Header is a header of a record. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record. Nil keys and values are null. Timestamp is in Unix
// milliseconds; zero means the batch's BaseTimestamp.
type Record struct {
	Key, Value []byte
	Timestamp  int64
	Headers    []Header
}

// Spec defines the batch to build. With the zero value of every field it is
// that of a plain, not idempotent producer.
type Spec struct {
	Records       []Record
	Codec         batch.Codec
	Xerial        bool  // snappy with the framing of Java clients
	BaseOffset    int64 // clients send 0
	LeaderEpoch   int32
	BaseTimestamp int64 // 0: the timestamp of the first record
	ProducerID    int64 // 0: none, encoded as -1, with epoch and sequence -1
	Epoch         int16
	Sequence      int32
	Transactional bool
	Control       bool
	// Deltas are the offsets of the records, less BaseOffset, as after a compaction. The
	// last one is that of the batch, and may have no record. Nil: 0, 1, 2, and so on.
	Deltas []int32
}

// Values returns records with these values, no keys, at time ts in Unix
// milliseconds.
func Values(ts int64, values ...string) []Record {
	records := make([]Record, len(values))
	for i, v := range values {
		records[i] = Record{Value: []byte(v), Timestamp: ts}
	}
	return records
}

// Build encodes the batch.
func Build(s Spec) []byte {
	if s.BaseTimestamp == 0 && len(s.Records) > 0 {
		s.BaseTimestamp = s.Records[0].Timestamp
	}
	if s.ProducerID == 0 {
		s.ProducerID, s.Epoch, s.Sequence = -1, -1, -1
	}
	records, maxTimestamp := encodeRecords(s)
	records = Compress(s.Codec, s.Xerial, records)

	b := binary.BigEndian.AppendUint64(nil, uint64(s.BaseOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(batch.HeaderSize-12+len(records)))
	b = binary.BigEndian.AppendUint32(b, uint32(s.LeaderEpoch))
	b = append(b, 2, 0, 0, 0, 0) // magic, CRC
	b = binary.BigEndian.AppendUint16(b, attributes(s))
	b = binary.BigEndian.AppendUint32(b, uint32(s.lastDelta()))
	b = binary.BigEndian.AppendUint64(b, uint64(s.BaseTimestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(maxTimestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(s.ProducerID))
	b = binary.BigEndian.AppendUint16(b, uint16(s.Epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(s.Sequence))
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Records)))
	return FixCRC(append(b, records...))
}

// FixCRC sets the CRC of a batch that a test has changed, in place, and returns
// it.
func FixCRC(b []byte) []byte {
	crc := crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(b[17:], crc)
	return b
}

func (s *Spec) lastDelta() int32 {
	if n := len(s.Deltas); n > 0 {
		return s.Deltas[n-1]
	}
	return int32(len(s.Records) - 1)
}

// delta is the offset of record i, less BaseOffset.
func (s *Spec) delta(i int) int64 {
	if len(s.Deltas) > 0 {
		return int64(s.Deltas[i])
	}
	return int64(i)
}

func attributes(s Spec) uint16 {
	a := uint16(s.Codec)
	if s.Transactional {
		a |= 0x10
	}
	if s.Control {
		a |= 0x20
	}
	return a
}

func encodeRecords(s Spec) (b []byte, maxTimestamp int64) {
	maxTimestamp = -1
	for i, r := range s.Records {
		if r.Timestamp == 0 {
			r.Timestamp = s.BaseTimestamp
		}
		maxTimestamp = max(maxTimestamp, r.Timestamp)
		body := []byte{0} // attributes
		body = binary.AppendVarint(body, r.Timestamp-s.BaseTimestamp)
		body = binary.AppendVarint(body, s.delta(i))
		body = appendBytes(body, r.Key)
		body = appendBytes(body, r.Value)
		body = binary.AppendVarint(body, int64(len(r.Headers)))
		for _, h := range r.Headers {
			body = appendBytes(body, append([]byte{}, h.Key...))
			body = appendBytes(body, h.Value)
		}
		b = binary.AppendVarint(b, int64(len(body)))
		b = append(b, body...)
	}
	return b, maxTimestamp
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

// Compress encodes b as the records of a batch of that codec.
func Compress(codec batch.Codec, xerial bool, b []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case batch.None:
		return b
	case batch.Gzip:
		w := gzip.NewWriter(&out)
		must(w.Write(b))
		must(0, w.Close())
	case batch.Snappy:
		if xerial {
			return xerialFrame(b)
		}
		return s2.EncodeSnappy(nil, b)
	case batch.LZ4:
		w := lz4.NewWriter(&out)
		must(w.Write(b))
		must(0, w.Close())
	case batch.Zstd:
		w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		must(0, err)
		must(w.Write(b))
		must(0, w.Close())
	default:
		panic(fmt.Sprintf("batchtest: cannot compress with %v", codec))
	}
	return out.Bytes()
}

// xerialFrame is the framing of snappy-java's SnappyOutputStream: magic, version
// and lowest compatible version, then blocks of at most 32 KiB, each with its
// compressed length.
func xerialFrame(b []byte) []byte {
	out := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	for len(b) > 0 {
		n := min(len(b), 32<<10)
		block := s2.EncodeSnappy(nil, b[:n])
		out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
		out = append(out, block...)
		b = b[n:]
	}
	return out
}

func must(_ int, err error) {
	if err != nil {
		panic(fmt.Sprintf("batchtest: %v", err))
	}
}
