package batch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

var anything = batch.Rules{Oldest: math.MinInt64, Newest: math.MaxInt64}

// check is Check of a batch with a sound header, in a room of its own.
func check(t testing.TB, b []byte, rules batch.Rules) (int64, error) {
	t.Helper()
	h, err := batch.Parse(b)
	if err != nil || !batch.CheckCRC(b, h) {
		t.Fatalf("the header alone: %v, CRC %v", err, batch.CheckCRC(b, h))
	}
	return batch.Check(context.Background(), batch.NewRoom(0, 1), b, h, rules)
}

// with is a batch with the header of three records at 1000 and these bytes behind it.
func with(codec batch.Codec, payload []byte) []byte {
	b := append(idempotent()[:batch.HeaderSize:batch.HeaderSize], payload...)
	return batchtest.FixCRC(put16(put32(b, 8, int32(len(b)-12)), 21, int16(codec)))
}

// plainRecords are the bytes of three records.
func plainRecords() []byte { return idempotent()[batch.HeaderSize:] }

func TestCheckAcceptsEveryCodecAndFindsTheNewestTime(t *testing.T) {
	for name, spec := range codecs {
		spec.BaseTimestamp = 500
		for _, records := range [][]batchtest.Record{
			{{Timestamp: 100}, {Timestamp: 900, Key: []byte("k")}, {Timestamp: 300, Value: []byte("v")}},
			{{Timestamp: 7, Value: make([]byte, 200_000), Headers: []batchtest.Header{{Key: "h"}, {Value: make([]byte, 70_000)}}}, {Timestamp: 900}},
			{{Timestamp: 900, Key: make([]byte, 1<<20)}},
		} {
			spec.Records = records
			b := put64(batchtest.Build(spec), 35, 4) // the header's value does not matter
			newest, err := check(t, batchtest.FixCRC(b), anything)
			if err != nil || newest != 900 {
				t.Errorf("%s: newest is %d, error %v", name, newest, err)
			}
		}
	}
}

// TestCheckRefuses has batches that no consumer could read, each with the record at fault.
func TestCheckRefuses(t *testing.T) {
	record := func(body ...byte) []byte { return append(binary.AppendVarint(nil, int64(len(body))), body...) }
	three := func(first []byte) []byte {
		return append(bytes.Clone(first), append(record(0, 0, 2, 1, 1, 0), record(0, 0, 4, 1, 1, 0)...)...)
	}
	tests := map[string]struct {
		records []byte
		index   int32
		says    string
	}{
		"sound":                       {three(record(0, 0, 0, 1, 1, 0)), -1, ""},
		"60 bytes of garbage":         {[]byte(strings.Repeat("garbage bytes. ", 4)), 0, ""},
		"deltas 0, 0, 2":              {bytes.Join([][]byte{record(0, 0, 0, 1, 1, 0), record(0, 0, 0, 1, 1, 0), record(0, 0, 4, 1, 1, 0)}, nil), 1, "offset delta 0"},
		"deltas from 1":               {three(record(0, 0, 2, 1, 1, 0)), 0, "offset delta 1"},
		"two records":                 {three(nil), 0, "offset delta 1"},
		"a record more":               {append(three(record(0, 0, 0, 1, 1, 0)), record(0, 0, 6, 1, 1, 0)...), 2, "bytes behind"},
		"a byte more":                 {append(three(record(0, 0, 0, 1, 1, 0)), 0), 2, "bytes behind"},
		"negative length":             {append([]byte{1}, three(record(0, 0, 0, 1, 1, 0))...), 0, "length"},
		"length beyond the end":       {three([]byte{126, 0, 0, 0, 1, 1, 0}), 0, "cut short"},
		"length of 2 GiB":             {three([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f}), 0, "cut short"},
		"length of six bytes":         {three([]byte{0x8c, 0x80, 0x80, 0x80, 0x80, 0x00, 0, 0, 0, 1, 1, 0}), 0, "length"},
		"offset delta of six bytes":   {three(record(0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0)), 0, "offset delta"},
		"endless timestamp":           {three(record(0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 1, 1, 0)), 0, "timestamp"},
		"no length of a body":         {three(record()), 0, "cut short"},
		"key beyond the record":       {three(record(0, 0, 0, 40, 1, 0)), 0, "key"},
		"key of length -2":            {three(record(0, 0, 0, 3, 1, 0)), 0, "key"},
		"value beyond the record":     {three(record(0, 0, 0, 1, 40, 0)), 0, "value"},
		"value of length -2":          {three(record(0, 0, 0, 1, 3, 0)), 0, "value"},
		"more headers than bytes":     {three(record(0, 0, 0, 1, 1, 100)), 0, "headers"},
		"negative headers":            {three(record(0, 0, 0, 1, 1, 1)), 0, "headers"},
		"null header key":             {three(record(0, 0, 0, 1, 1, 2, 1, 1)), 0, "header without a key"},
		"header value beyond the end": {three(record(0, 0, 0, 1, 1, 2, 0, 40)), 0, "header"},
		"bytes behind the headers":    {three(record(0, 0, 0, 1, 1, 0, 9)), 0, "behind its last header"},
	}
	for name, test := range tests {
		for codec, spec := range codecs {
			b := with(spec.Codec, batchtest.Compress(spec.Codec, spec.Xerial, test.records))
			wantRefusal(t, name+", "+codec, b, test.index, test.says)
		}
	}
}

// TestCheckRefusesLongRecordsLikeShortOnes has records that are longer than a
// recordReader's window, which it reads in pieces.
func TestCheckRefusesLongRecordsLikeShortOnes(t *testing.T) {
	body := func(key, value, headers []byte) []byte {
		return bytes.Join([][]byte{{0, 0, 0}, key, value, headers}, nil)
	}
	bytesOf := func(n int) []byte { return append(binary.AppendVarint(nil, int64(n)), make([]byte, max(n, 0))...) }
	claim := func(n int64, rest int) []byte { return append(binary.AppendVarint(nil, n), make([]byte, rest)...) }
	const long = 100_000
	tests := map[string]struct {
		body  []byte
		index int32
		says  string
	}{
		"sound":                    {body(bytesOf(2), bytesOf(long), []byte{2, 2, 'h', 0}), -1, ""},
		"sound, without a value":   {body(bytesOf(long), bytesOf(-1), []byte{0}), -1, ""},
		"key of length -2":         {body(bytesOf(-2), bytesOf(long), []byte{0}), 0, "key"},
		"key beyond the record":    {body(claim(2*long, long), nil, nil), 0, "key"},
		"value of length -2":       {body(bytesOf(long), bytesOf(-2), []byte{0}), 0, "value"},
		"value beyond the record":  {body(bytesOf(1), claim(long+2, long), []byte{0}), 0, "value"},
		"negative headers":         {body(bytesOf(1), bytesOf(long), []byte{1}), 0, "headers"},
		"more headers than bytes":  {body(bytesOf(1), bytesOf(long), []byte{100}), 0, "headers"},
		"null header key":          {body(bytesOf(1), bytesOf(long), []byte{2, 1, 1}), 0, "header without a key"},
		"header key of length -2":  {body(bytesOf(1), bytesOf(long), []byte{2, 3, 1}), 0, "header"},
		"header value beyond":      {body(bytesOf(1), bytesOf(long), []byte{2, 0, 40}), 0, "header"},
		"header value of -2":       {body(bytesOf(1), bytesOf(long), []byte{2, 0, 3}), 0, "header"},
		"bytes behind the headers": {body(bytesOf(1), bytesOf(long), []byte{0, 9}), 0, "behind its last header"},
	}
	for name, test := range tests {
		records := append(binary.AppendVarint(nil, int64(len(test.body))), test.body...)
		records = append(records, 12, 0, 0, 2, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0)
		for codec, spec := range codecs {
			b := with(spec.Codec, batchtest.Compress(spec.Codec, spec.Xerial, records))
			wantRefusal(t, name+", "+codec, b, test.index, test.says)
		}
	}
}

func wantRefusal(t *testing.T, name string, b []byte, index int32, says string) {
	t.Helper()
	_, err := check(t, b, anything)
	if index < 0 {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	var bad batch.BadRecords
	if !errors.As(err, &bad) || !errors.Is(err, batch.ErrInvalidRecord) || errors.Is(err, batch.ErrCorruptBatch) {
		t.Errorf("%s: error is %v, want BadRecords", name, err)
	} else if bad[0].Index != index || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: record %d: %v; want record %d: %s", name, bad[0].Index, err, index, says)
	}
	for _, class := range classes {
		if err != nil && errors.Is(err, class) != (class == batch.ErrInvalidRecord) {
			t.Errorf("%s: error %v is %v: %v", name, err, class, errors.Is(err, class))
		}
	}
}

func TestCheckRefusesStreamsThatAreNone(t *testing.T) {
	for name, spec := range codecs {
		if spec.Codec == batch.None {
			continue
		}
		whole := batchtest.Compress(spec.Codec, spec.Xerial, plainRecords())
		wantRefusal(t, name+": plain bytes", with(spec.Codec, plainRecords()), 0, "decompress")
		wantRefusal(t, name+": sound", with(spec.Codec, whole), -1, "")
		twice := batchtest.Compress(spec.Codec, spec.Xerial, whole)
		wantRefusal(t, name+": compressed twice", with(spec.Codec, twice), 0, "")
		for n := 1; n < len(whole); n++ {
			_, err := check(t, with(spec.Codec, whole[:n]), anything)
			if !errors.Is(err, batch.ErrInvalidRecord) {
				t.Errorf("%s cut to %d of %d bytes: error is %v", name, n, len(whole), err)
			}
		}
		for _, more := range []string{"\x00", "garbage", string(make([]byte, 100_000))} {
			if _, err := check(t, with(spec.Codec, append(bytes.Clone(whole), more...)), anything); !errors.Is(err, batch.ErrInvalidRecord) {
				t.Errorf("%s with %d bytes behind it: error is %v", name, len(more), err)
			}
		}
	}
}

func TestCheckBelievesNoCountOfRecords(t *testing.T) {
	for name, spec := range codecs {
		packed := batchtest.Compress(spec.Codec, spec.Xerial, plainRecords())
		for _, payload := range [][]byte{packed, nil} {
			for _, count := range []int32{4, 100_000, math.MaxInt32} {
				b := batchtest.FixCRC(counted(with(spec.Codec, payload), count, count-1))
				if _, err := check(t, b, anything); !errors.Is(err, batch.ErrInvalidRecord) {
					t.Errorf("%s: %d records in %d bytes: error is %v", name, count, len(payload), err)
				}
			}
		}
	}
}

func TestCheckHoldsRecordsToTheRules(t *testing.T) {
	spec := batchtest.Spec{Codec: batch.LZ4, Records: []batchtest.Record{
		{Timestamp: 1000, Key: []byte("k")}, {Timestamp: 999}, {Timestamp: -1, Key: []byte("k")}, {Timestamp: 2001, Key: []byte{}}, {Timestamp: 2000},
	}}
	b := batchtest.Build(spec)
	tests := []struct {
		rules batch.Rules
		want  []int32
		class error
	}{
		{anything, nil, nil},
		{batch.Rules{Keys: true, Oldest: math.MinInt64, Newest: math.MaxInt64}, []int32{1, 4}, batch.ErrInvalidRecord},
		{batch.Rules{Oldest: 1000, Newest: 2000}, []int32{1, 3}, batch.ErrTimestamp},
		{batch.Rules{Keys: true, Oldest: 999, Newest: 2000}, []int32{1, 3, 4}, batch.ErrTimestamp},
	}
	for _, test := range tests {
		_, err := check(t, b, test.rules)
		var bad batch.BadRecords
		errors.As(err, &bad)
		var got []int32
		for _, r := range bad {
			got = append(got, r.Index)
		}
		if len(got) != len(test.want) || !errors.Is(err, test.class) {
			t.Errorf("%+v: records %v, error %v; want %v, %v", test.rules, got, err, test.want, test.class)
		}
	}
}

// TestCheckTakesLittleMemory walks records that expand to far more than their room.
func TestCheckTakesLittleMemory(t *testing.T) {
	for name, spec := range codecs {
		size := 64 << 20
		if spec.Codec == batch.None || spec.Codec == batch.Snappy && !spec.Xerial {
			size = 20 << 20 // a block is decoded as a whole
		}
		spec.Records = []batchtest.Record{{Key: []byte("k"), Value: make([]byte, size), Timestamp: 5}}
		b := batchtest.Build(spec)
		if _, err := check(t, b, anything); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		limit := uint64(32 << 20)
		if n := allocated(func() { check(t, b, anything) }); n > limit {
			t.Errorf("%s: %d bytes of a batch of %d made it allocate %d", name, size, len(b), n)
		}
	}
}

// TestWindowsCountOnlyIfTheyAreFilled: zstd's highest level announces 128 MiB.
func TestWindowsCountOnlyIfTheyAreFilled(t *testing.T) {
	window := func(value int) []byte {
		spec := batchtest.Spec{Records: []batchtest.Record{{Value: make([]byte, value)}}}
		var out bytes.Buffer
		w, err := zstd.NewWriter(&out, zstd.WithWindowSize(128<<20), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
		if err != nil {
			t.Fatal(err)
		}
		raw := batchtest.Build(spec)[batch.HeaderSize:]
		w.Write(raw[:1])
		w.Flush() // so that the frame is not a single segment with a window of its own size
		w.Write(raw[1:])
		w.Close()
		return counted(with(batch.Zstd, out.Bytes()), 1, 0)
	}
	wantRefusal(t, "10 MiB", batchtest.FixCRC(window(10<<20)), -1, "")
	wantRefusal(t, "70 MiB", batchtest.FixCRC(window(70<<20)), 0, "in memory at once")
}

func TestCheckEndsWithItsContext(t *testing.T) {
	spec := codecs["gzip"]
	spec.Records = batchtest.Values(1, "a")
	b := batchtest.Build(spec)
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the client is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := batch.Check(ctx, batch.NewRoom(0, 1), b, h, anything); !errors.Is(err, cause) || errors.Is(err, batch.ErrInvalidRecord) {
		t.Errorf("error is %v", err)
	}
}

func TestCheckOfPlainRecordsDoesNotAllocate(t *testing.T) {
	spec := batchtest.Spec{Records: jsonRecords(100, 200, 1)}
	b := batchtest.Build(spec)
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { batch.Check(context.Background(), nil, b, h, anything) }); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}
