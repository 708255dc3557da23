package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

var codecs = map[string]batchtest.Spec{
	"none":   {Codec: batch.None},
	"gzip":   {Codec: batch.Gzip},
	"snappy": {Codec: batch.Snappy},
	"xerial": {Codec: batch.Snappy, Xerial: true},
	"lz4":    {Codec: batch.LZ4},
	"zstd":   {Codec: batch.Zstd},
}

func collect(b []byte, maxRecord int) (records []batch.Record, err error) {
	err = batch.Records(b, maxRecord, func(r batch.Record) bool {
		records = append(records, kept(r))
		return true
	})
	return records, err
}

// kept is a record in memory of its own.
func kept(r batch.Record) (copied batch.Record) {
	b, _ := batch.Build([]batch.Record{r})
	if err := batch.Records(b, 0, func(again batch.Record) bool { copied = again; return true }); err != nil {
		panic(err)
	}
	copied.Offset = r.Offset
	return copied
}

func TestRecordsComeBackFromEveryCodec(t *testing.T) {
	for name, spec := range codecs {
		t.Run(name, func(t *testing.T) {
			spec.Records = []batchtest.Record{
				{Key: []byte("k"), Value: []byte("v"), Timestamp: 100, Headers: []batchtest.Header{{Key: "h"}, {Key: "", Value: []byte("x")}}},
				{Timestamp: 90},
				{Key: []byte{}, Value: make([]byte, 100_000), Timestamp: 1000},
			}
			b := batchtest.Build(spec)
			h, err := batch.Validate(b, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if h.MaxTimestamp != 1000 || h.Records != 3 || h.ProducerID != -1 {
				t.Errorf("header is %+v", h)
			}
			batch.Patch(b, 7, 3)
			got, err := collect(b, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			checkRecords(t, got, spec.Records, 7)
		})
	}
}

func checkRecords(t *testing.T, got []batch.Record, want []batchtest.Record, base int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, r := range got {
		w := want[i]
		if r.Offset != base+int64(i) || r.Timestamp != w.Timestamp || !same(r.Key, w.Key) || !same(r.Value, w.Value) {
			t.Errorf("record %d is at %d, time %d, key %q, value of %d bytes", i, r.Offset, r.Timestamp, r.Key, len(r.Value))
		}
		j := 0
		for key, value := range r.Headers.All() {
			if string(key) != w.Headers[j].Key || !same(value, w.Headers[j].Value) {
				t.Errorf("record %d: header %d is %q %q", i, j, key, value)
			}
			j++
		}
		if j != len(w.Headers) || r.Headers.Len() != j {
			t.Errorf("record %d: %d headers, want %d", i, j, len(w.Headers))
		}
	}
}

// same compares bytes; null is not the same as empty.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

// TestRecordsReadsWhatAnotherClientCompressed takes records encoded by kmsg and
// compressed by kgo.
func TestRecordsReadsWhatAnotherClientCompressed(t *testing.T) {
	value := bytes.Repeat([]byte("abcdefgh"), 5000)
	record := kmsg.Record{TimestampDelta64: 7, Key: []byte("k"), Value: value,
		Headers: []kmsg.Header{{Key: "h", Value: []byte("v")}}}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // less a length of 0
	raw := record.AppendTo(nil)
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		compressor, err := kgo.DefaultCompressor(codec)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		compressed, used := compressor.Compress(&out, raw)
		b := kmsg.RecordBatch{Length: int32(49 + len(compressed)), Magic: 2, Attributes: int16(used),
			FirstTimestamp: 100, NumRecords: 1, Records: compressed}
		got, err := collect(batchtest.FixCRC(b.AppendTo(nil)), 1<<20)
		if err != nil {
			t.Fatalf("codec %d: %v", used, err)
		}
		checkRecords(t, got, []batchtest.Record{{Key: []byte("k"), Value: value, Timestamp: 107,
			Headers: []batchtest.Header{{Key: "h", Value: []byte("v")}}}}, 0)
	}
}

// TestBatchtestEncodesWhatAnotherClientReads keeps the tests' own encoder honest.
func TestBatchtestEncodesWhatAnotherClientReads(t *testing.T) {
	plain := batchtest.Build(batchtest.Spec{Records: batchtest.Values(5, "a", "b")})[batch.HeaderSize:]
	for name, spec := range codecs {
		spec.Records = batchtest.Values(5, "a", "b")
		var theirs kmsg.RecordBatch
		if err := theirs.ReadFrom(batchtest.Build(spec)); err != nil {
			t.Fatal(err)
		}
		got, err := kgo.DefaultDecompressor().Decompress(theirs.Records, kgo.CompressionCodecType(theirs.Attributes&7))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: kgo reads %x, error %v, want %x", name, got, err, plain)
		}
	}
}

func TestRecordsStopsWhenAskedTo(t *testing.T) {
	n := 0
	err := batch.Records(idempotent(), 1<<20, func(batch.Record) bool { n++; return n < 2 })
	if err != nil || n != 2 {
		t.Errorf("%d records, error %v", n, err)
	}
}

func TestRecordsHoldsToItsLimitOfOneRecord(t *testing.T) {
	for name, spec := range codecs {
		t.Run(name, func(t *testing.T) {
			spec.Records = batchtest.Values(1, "short", string(make([]byte, 300_000)), "short")
			b := batchtest.Build(spec)
			const size = 300_008
			if got, err := collect(b, size); err != nil || len(got) != 3 {
				t.Errorf("limit equal to the longest record's size: %d records, %v", len(got), err)
			}
			if spec.Codec == batch.None || spec.Codec == batch.Zstd || spec.Codec == batch.Snappy && !spec.Xerial {
				return // the records are in memory anyway
			}
			for _, limit := range []int{size - 1, size / 2, 1, 0, -1} {
				if _, err := collect(b, limit); !errors.Is(err, batch.ErrDecompress) {
					t.Errorf("limit %d of %d: error is %v, want ErrDecompress", limit, size, err)
				}
			}
		})
	}
}

func TestRecordsAllocatesForWhatIsThereNotForWhatIsAnnounced(t *testing.T) {
	var zstdOut bytes.Buffer
	w, err := zstd.NewWriter(&zstdOut, zstd.WithWindowSize(128<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte{0})
	w.Flush() // so that the frame is not a single segment with a window of its own size
	w.Write([]byte{0})
	w.Close()
	announced := map[string][]byte{
		"zstd window of 128 MiB": zstdOut.Bytes(),
		"zstd size of 1 GiB":     []byte("\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x40\x01\x00\x00"),
		"snappy block of 1 GiB":  binary.AppendUvarint(nil, 1<<30),
		"xerial block of 1 GiB": append([]byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05"),
			binary.AppendUvarint(nil, 1<<30)...),
		"xerial length of 4 GiB": []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff"),
	}
	for name, payload := range announced {
		t.Run(name, func(t *testing.T) {
			codec := batch.Snappy
			if name[:4] == "zstd" {
				codec = batch.Zstd
			}
			b := append(idempotent()[:batch.HeaderSize:batch.HeaderSize], payload...)
			put16(put32(b, 8, int32(len(b)-12)), 21, int16(codec))
			collect(b, 1<<31-1) // decoders are made once
			if n := allocated(func() { collect(b, 1<<31-1) }); n > 24<<20 {
				t.Errorf("%d bytes made it allocate %d", len(payload), n)
			}
		})
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestRecordsRefusesMalformedRecords(t *testing.T) {
	// A record with key and value null and no headers, at offset delta n.
	plain := func(n byte) []byte { return []byte{12, 0, 0, 2 * n, 1, 1, 0} }
	record := func(body ...byte) []byte { return append(binary.AppendVarint(nil, int64(len(body))), body...) }
	tests := map[string]struct {
		records []byte
		count   int32
	}{
		"no bytes":                     {nil, 1},
		"length beyond the end":        {[]byte{14, 0, 0, 0, 1, 1, 0}, 1},
		"negative length":              {[]byte{1, 0, 0, 0, 1, 1, 0}, 1},
		"endless varint":               {bytes.Repeat([]byte{0xff}, 20), 1},
		"body too short":               {record(0, 0, 0, 1, 1), 1},
		"bytes after the headers":      {record(0, 0, 0, 1, 1, 0, 9), 1},
		"key beyond the record":        {record(0, 0, 0, 40, 1, 0), 1},
		"key of length -2":             {record(0, 0, 0, 3, 1, 0), 1},
		"value beyond the record":      {record(0, 0, 0, 1, 40, 0), 1},
		"more headers than bytes":      {record(0, 0, 0, 1, 1, 100), 1},
		"negative headers":             {record(0, 0, 0, 1, 1, 1), 1},
		"null header key":              {record(0, 0, 0, 1, 1, 2, 1, 1), 1},
		"header value beyond the end":  {record(0, 0, 0, 1, 1, 2, 0, 40), 1},
		"fewer records than the count": {plain(0), 2},
		"more records than the count":  {append(plain(0), plain(1)...), 1},
		"offsets that stand still":     {append(plain(0), plain(0)...), 2},
		"offset above the last":        {plain(7), 1},
		"negative offset":              {record(0, 0, 1, 1, 1, 0), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := append(idempotent()[:batch.HeaderSize:batch.HeaderSize], test.records...)
			counted(put32(b, 8, int32(len(b)-12)), test.count, 6)
			if _, err := collect(b, 1<<20); !errors.Is(err, batch.ErrCorruptBatch) {
				t.Errorf("error is %v, want ErrCorruptBatch", err)
			}
		})
	}
}

func TestRecordsRefusesDamagedStreams(t *testing.T) {
	for name, spec := range codecs {
		if name == "none" {
			continue
		}
		spec.Records = batchtest.Values(1, "some value", "and another one of the same kind")
		whole := batchtest.Build(spec)
		for n := batch.HeaderSize; n < len(whole); n++ {
			b := append([]byte{}, whole[:n]...)
			put32(b, 8, int32(n-12))
			if got, err := collect(b, 1<<20); err == nil && len(got) == len(spec.Records) {
				continue // only a checksum or an end mark is missing
			} else if !errors.Is(err, batch.ErrCorruptBatch) {
				t.Errorf("%s cut to %d of %d bytes: error is %v, want ErrCorruptBatch", name, n, len(whole), err)
			}
		}
	}
	unknown := batchtest.FixCRC(put16(idempotent(), 21, 6))
	if _, err := collect(unknown, 1<<20); !errors.Is(err, batch.ErrCodec) {
		t.Errorf("codec 6: error is %v, want ErrCodec", err)
	}
}

func TestStreamsThatNoClientSendsAreDamage(t *testing.T) {
	tests := map[string]struct {
		codec   batch.Codec
		payload []byte
	}{
		"lz4 of the old frame format":   {batch.LZ4, []byte("\x02\x21\x4c\x18\x00\x00\x00\x00")},
		"snappy of 8 MiB in five bytes": {batch.Snappy, append(binary.AppendUvarint(nil, 8<<20), 0)},
		"gzip without its magic":        {batch.Gzip, []byte("no gzip stream")},
		"zstd without its magic":        {batch.Zstd, []byte("no zstd stream")},
	}
	for name, test := range tests {
		b := append(idempotent()[:batch.HeaderSize:batch.HeaderSize], test.payload...)
		put16(put32(b, 8, int32(len(b)-12)), 21, int16(test.codec))
		collect(b, 1<<30) // decoders are made once
		n := allocated(func() {
			if got, err := collect(b, 1<<30); !errors.Is(err, batch.ErrCorruptBatch) || len(got) != 0 {
				t.Errorf("%s: %d records, error %v, want ErrCorruptBatch", name, len(got), err)
			}
		})
		if n > 4<<20 {
			t.Errorf("%s made it allocate %d bytes", name, n)
		}
	}
	if batch.Zstd.String() != "zstd" || batch.Codec(6).String() != "codec(6)" {
		t.Errorf("codecs are named %v and %v", batch.Zstd, batch.Codec(6))
	}
}
