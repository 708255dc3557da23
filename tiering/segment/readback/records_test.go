package readback_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// record is a record with everything that a Sum depends on.
type record struct {
	offset, timestamp int64
	key, value        []byte
	headers           []batchtest.Header
}

func (r *record) encode(w []byte, base, first int64) []byte {
	body := binary.AppendVarint([]byte{0}, r.timestamp-first)
	body = binary.AppendVarint(body, r.offset-base)
	body = field(field(body, r.key), r.value)
	body = binary.AppendVarint(body, int64(len(r.headers)))
	for _, h := range r.headers {
		body = field(field(body, []byte(h.Key)), h.Value)
	}
	return append(binary.AppendVarint(w, int64(len(body))), body...)
}

func field(w, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(w, -1)
	}
	return append(binary.AppendVarint(w, int64(len(b))), b...)
}

// spec is how records are made a batch.
type spec struct {
	codec    batch.Codec
	xerial   bool
	epoch    int32
	flags    uint16
	producer int64
	term     int16
	sequence int32 // of the offset 0
	plain    bool  // without a producer
}

// build encodes a batch. Offsets between its records may be missing.
func (s spec) build(records ...record) []byte {
	if s.plain {
		s.producer, s.term, s.sequence = -1, -1, -1-int32(records[0].offset)
	}
	base, first, newest := records[0].offset, records[0].timestamp, int64(-1)
	var payload []byte
	for i := range records {
		payload = records[i].encode(payload, base, first)
		newest = max(newest, records[i].timestamp)
	}
	payload = batchtest.Compress(s.codec, s.xerial, payload)
	b := binary.BigEndian.AppendUint64(nil, uint64(base))
	b = binary.BigEndian.AppendUint32(b, uint32(batch.HeaderSize-12+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(s.epoch))
	b = append(b, 2, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(s.codec)|s.flags)
	b = binary.BigEndian.AppendUint32(b, uint32(records[len(records)-1].offset-base))
	b = binary.BigEndian.AppendUint64(b, uint64(first))
	b = binary.BigEndian.AppendUint64(b, uint64(newest))
	b = binary.BigEndian.AppendUint64(b, uint64(s.producer))
	b = binary.BigEndian.AppendUint16(b, uint16(s.term))
	b = binary.BigEndian.AppendUint32(b, uint32(s.sequence+int32(base)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(records)))
	return batchtest.FixCRC(append(b, payload...))
}

// fewRecords are of offsets 10 to 14.
func fewRecords() (records []record) {
	for i := range int64(5) {
		records = append(records, record{
			offset: 10 + i, timestamp: 1000 - i, key: fmt.Append(nil, "key", i), value: fmt.Append(nil, "value", i),
			headers: []batchtest.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
		})
	}
	records[2].key, records[3].value, records[4].headers = nil, nil, nil
	return records
}

// sumOf is the Sum of all records of batches.
func sumOf(t testing.TB, r *readback.Reader, batches ...[]byte) (sum readback.Sum) {
	t.Helper()
	for _, b := range batches {
		s, _, err := r.Batch(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(s)
	}
	return sum
}

// bytesOf is the Sum of batches as their bytes.
func bytesOf(t testing.TB, r *readback.Reader, batches ...[]byte) (sum readback.Sum) {
	t.Helper()
	for _, b := range batches {
		s, err := r.Verbatim(b)
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(s)
	}
	return sum
}

func TestASumShowsEachChangeOfARecord(t *testing.T) {
	r := readback.New()
	want := sumOf(t, r, spec{}.build(fewRecords()...))
	if want.Records != 5 || want.Raw != 0 {
		t.Fatalf("sum is %+v", want)
	}
	for name, change := range map[string]func([]record) []record{
		"dropped first":       func(r []record) []record { return r[1:] },
		"dropped inside":      func(r []record) []record { return slices.Delete(r, 2, 3) },
		"dropped last":        func(r []record) []record { return r[:4] },
		"doubled":             func(r []record) []record { d := r[4]; d.offset++; return append(r, d) },
		"one in place of one": func(r []record) []record { o := r[2].offset; r[2] = r[1]; r[2].offset = o; return r },
		"two swapped":         func(r []record) []record { r[0].value, r[1].value = r[1].value, r[0].value; return r },
		"offset":              func(r []record) []record { r[4].offset++; return r },
		"timestamp":           func(r []record) []record { r[3].timestamp++; return r },
		"key":                 func(r []record) []record { r[1].key = []byte("kez"); return r },
		"null for empty":      func(r []record) []record { r[2].key = []byte{}; return r },
		"empty for null":      func(r []record) []record { r[3].value = []byte{}; return r },
		"value":               func(r []record) []record { r[1].value[0]++; return r },
		"key and value":       func(r []record) []record { r[1].key, r[1].value = []byte("ke"), []byte("y1value1"); return r },
		"header's key":        func(r []record) []record { r[1].headers[0].Key = "c"; return r },
		"header's value":      func(r []record) []record { r[1].headers[1].Value = []byte{}; return r },
		"headers swapped":     func(r []record) []record { slices.Reverse(r[1].headers); return r },
		"header dropped":      func(r []record) []record { r[1].headers = r[1].headers[:1]; return r },
	} {
		if got := sumOf(t, r, spec{}.build(change(fewRecords())...)); got == want {
			t.Errorf("%s: the sum is the same", name)
		}
	}
	for name, s := range map[string]spec{
		"leader epoch": {epoch: 1}, "timestamp type": {flags: 1 << 3}, "transactional": {flags: 1 << 4}, "control": {flags: 1 << 5},
		"producer": {producer: 1}, "producer's epoch": {term: 1}, "sequence": {sequence: 1},
	} {
		if got := sumOf(t, r, s.build(fewRecords()...)); got == want {
			t.Errorf("%s: the sum is the same", name)
		}
	}
	if other := sumOf(t, readback.New(), spec{}.build(fewRecords()...)); other.Hash == want.Hash {
		t.Error("two Readers have the same seed")
	}
}

// TestASumIgnoresHowRecordsAreGrouped cuts the same records into batches of all codecs.
func TestASumIgnoresHowRecordsAreGrouped(t *testing.T) {
	seed := seeded.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := readback.New()
	for range 60 {
		var records []record
		offset := rng.Int64N(1000)
		for range 1 + rng.IntN(20) {
			v := record{offset: offset, timestamp: rng.Int64N(1 << 40), key: make([]byte, rng.IntN(4)), value: make([]byte, rng.IntN(200_000))}
			for range rng.IntN(3) {
				v.headers = append(v.headers, batchtest.Header{Key: "h", Value: make([]byte, rng.IntN(3))})
			}
			records = append(records, v)
			offset += 1 + rng.Int64N(3)
		}
		group := func() readback.Sum {
			var batches [][]byte
			for rest := records; len(rest) > 0; {
				n := 1 + rng.IntN(len(rest))
				s := spec{codec: batch.Codec(rng.IntN(5)), xerial: rng.IntN(2) == 0, producer: 7, sequence: 5}
				batches, rest = append(batches, s.build(rest[:n]...)), rest[n:]
			}
			return sumOf(t, r, batches...)
		}
		if a, b := group(), group(); a != b || a.Records != uint64(len(records)) || a.Raw != 0 {
			t.Fatalf("seed %d: sums are %+v and %+v, want %d records", seed, a, b, len(records))
		}
	}
}

// TestTheSumOfBytesShowsEachChange flips each bit of a batch that no CRC covers, and some of
// the others.
func TestTheSumOfBytesShowsEachChange(t *testing.T) {
	r, one := readback.New(), spec{codec: batch.Zstd}.build(fewRecords()...)
	want := bytesOf(t, r, one)
	if want.Records != 5 || want.Raw != 1 {
		t.Fatalf("sum is %+v", want)
	}
	for at := range one {
		if at >= 8 && at < 12 || at >= 16 && at < 21 { // length, magic and CRC
			continue
		}
		changed := bytes.Clone(one)
		changed[at] ^= 1
		if s, err := r.Verbatim(batchtest.FixCRC(changed)); err == nil && s == want {
			t.Errorf("byte %d changed: the sum is the same", at)
		}
	}
	if got := bytesOf(t, r, spec{codec: batch.LZ4}.build(fewRecords()...)); got == want {
		t.Error("the same records in another codec have the same sum")
	}
	if got := bytesOf(t, r, one, one); got == want {
		t.Error("the sum of the batch twice is the same")
	}
}

func TestTheNewestTimestampIsThatOfTheRecords(t *testing.T) {
	r, b := readback.New(), spec{}.build(fewRecords()...)
	batch.SetMaxTimestamp(b, -1)
	if _, newest, err := r.Batch(t.Context(), b); err != nil || newest != 1000 {
		t.Errorf("newest is %d, error %v", newest, err)
	}
	batch.SetLogAppendTime(b, 7)
	if _, newest, err := r.Batch(t.Context(), b); err != nil || newest != 7 {
		t.Errorf("with the time of the broker, newest is %d, error %v", newest, err)
	}
}

// TestUndecodableBatchesCountAsTheirBytes spoils records, and corrects the CRC.
func TestUndecodableBatchesCountAsTheirBytes(t *testing.T) {
	r := readback.New()
	spoiled := func(at int, bits byte) []byte {
		b := spec{codec: batch.Gzip}.build(fewRecords()...)
		b[len(b)-1-at] ^= bits
		return batchtest.FixCRC(b)
	}
	one, other := spoiled(0, 1), spoiled(0, 2)
	a := sumOf(t, r, one)
	if a.Records != 5 || a.Raw != 1 {
		t.Fatalf("sum is %+v", a)
	}
	if b := sumOf(t, r, other); a == b {
		t.Error("other bytes have the same sum")
	}
	moved := bytes.Clone(one)
	batch.Patch(moved, 11, 0)
	if b := sumOf(t, r, moved); a == b {
		t.Error("another offset has the same sum")
	}
	if b := bytesOf(t, r, one); a != b {
		t.Errorf("the sum is %+v, that of its bytes %+v", a, b)
	}
	unknown := spec{}.build(fewRecords()...)
	unknown[22] |= 5
	if s := sumOf(t, r, batchtest.FixCRC(unknown)); s.Raw != 1 {
		t.Errorf("of an unknown codec: %+v", s)
	}
}

func TestBatchesThatCannotBeRight(t *testing.T) {
	r, good := readback.New(), spec{}.build(fewRecords()...)
	for name, b := range map[string][]byte{
		"flipped":          append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1),
		"cut":              good[:len(good)-1],
		"only a header":    good[:61],
		"less than that":   good[:60],
		"twice":            append(bytes.Clone(good), good...),
		"old magic":        append(append(bytes.Clone(good[:16]), 1), good[17:]...),
		"too many records": func() []byte { b := bytes.Clone(good); b[60] = 6; return batchtest.FixCRC(b) }(),
		"negative offset":  func() []byte { b := bytes.Clone(good); batch.Patch(b, -1, 0); return b }(),
		"last of all":      func() []byte { b := bytes.Clone(good); batch.Patch(b, math.MaxInt64-4, 0); return b }(),
	} {
		if s, _, err := r.Batch(t.Context(), b); !errors.Is(err, readback.ErrWrong) {
			t.Errorf("%s: %+v and error %v", name, s, err)
		}
		if s, err := r.Verbatim(b); !errors.Is(err, readback.ErrWrong) {
			t.Errorf("%s: %+v as its bytes, and error %v", name, s, err)
		}
	}
	if s, _, err := r.Batch(t.Context(), append(good, 0)); !errors.Is(err, readback.ErrWrong) {
		t.Errorf("with a byte more: %+v and error %v", s, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("node stops")
	cancel(why)
	if s, _, err := r.Batch(ctx, spec{codec: batch.Zstd}.build(fewRecords()...)); !errors.Is(err, why) {
		t.Errorf("after the end of the context: %+v and error %v", s, err)
	}
}

// FuzzBatchAgreesWithTheOtherDecoder: all records that the decoder of batch takes must be
// taken here, too.
func FuzzBatchAgreesWithTheOtherDecoder(f *testing.F) {
	for codec := range batch.Codec(5) {
		b := spec{codec: codec}.build(fewRecords()...)
		f.Add(byte(codec), int32(4), int32(5), b[61:])
	}
	f.Add(byte(2), int32(4), int32(5), spec{codec: batch.Snappy, xerial: true}.build(fewRecords()...)[61:])
	r := readback.New()
	f.Fuzz(func(t *testing.T, codec byte, delta, count int32, payload []byte) {
		b := append(spec{codec: batch.Codec(codec % 5)}.build(fewRecords()...)[:61:61], payload...)
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		binary.BigEndian.PutUint32(b[23:], uint32(delta))
		binary.BigEndian.PutUint32(b[57:], uint32(count))
		if codec%5 == 0 {
			b[22] = 0
		}
		b = batchtest.FixCRC(b)
		if count <= 0 || delta < 0 || int64(count) > int64(delta)+1 {
			return
		}
		records, newest := uint64(0), int64(-1)
		other := batch.Records(b, 1<<30, func(v batch.Record) bool {
			records, newest = records+1, max(newest, v.Timestamp)
			return true
		})
		sum, most, err := r.Batch(t.Context(), b)
		if err != nil || other == nil && (sum.Raw != 0 || sum.Records != records || most != newest) {
			t.Fatalf("sum is %+v, newest %d, error %v; the other decoder has %d records, newest %d, error %v", sum, most, err, records, newest, other)
		}
	})
}

func TestASumOfChosenRecordsIsThatOfABatchOfThem(t *testing.T) {
	records := fewRecords()
	records[1].key = []byte{}
	r := readback.New()
	whole := spec{}.build(records...)
	for choice := range 1 << len(records) {
		var some []record
		var sum readback.Sum
		for i, x := range records {
			if choice>>i&1 == 1 {
				some = append(some, x)
			}
		}
		i := -1
		got, err := r.Chosen(t.Context(), whole, func(offset int64, key []byte, tombstone bool) bool {
			i++
			x := &records[i]
			if (key == nil) != (x.key == nil) || string(key) != string(x.key) || tombstone != (x.value == nil) {
				t.Fatalf("record %d has key %q, tombstone %v", i, key, tombstone)
			}
			return choice>>i&1 == 1
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(some) > 0 {
			sum = sumOf(t, r, spec{}.build(some...))
		}
		if got != sum {
			t.Errorf("choice %b: %+v, want %+v", choice, got, sum)
		}
	}
}

// TestABatchIsReadWithoutAllocation: sources of a job are millions of batches.
func TestABatchIsReadWithoutAllocation(t *testing.T) {
	r := readback.New()
	for codec := range batch.Codec(5) {
		b, ctx := spec{codec: codec}.build(fewRecords()...), t.Context()
		read := func() {
			if s, _, err := r.Batch(ctx, b); err != nil || s.Raw > 0 {
				t.Fatal(s, err)
			}
		}
		read()
		if n := testing.AllocsPerRun(100, read); n > 1 {
			t.Errorf("%v: %v allocations a batch", codec, n)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	r := readback.New()
	var records []record
	for i := range int64(100) {
		records = append(records, record{offset: i, timestamp: i, key: []byte("a key"), value: bytes.Repeat([]byte("json "), 40)})
	}
	for codec := range batch.Codec(5) {
		data := spec{codec: codec}.build(records...)
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(100 * 220)
			for b.Loop() {
				if _, _, err := r.Batch(b.Context(), data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
