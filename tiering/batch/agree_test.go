package batch_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// TestDecodersAgree compares Check, Scan and Records with each other, on batches that are
// sound and on such that are not, in every codec.
func TestDecodersAgree(t *testing.T) {
	seed := seeded.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		raw := mutatedRecords(rng, true)
		want := simple(with(batch.None, raw))
		for name, spec := range codecs {
			if b := with(spec.Codec, batchtest.Compress(spec.Codec, spec.Xerial, raw)); len(raw) > 0 {
				agree(t, seed, name, b, want)
			}
		}
	}
}

// mutatedRecords are those of three records, some maybe longer than a recordReader's window, with
// a few bytes changed, cut or added in every other.
func mutatedRecords(rng *rand.Rand, long bool) []byte {
	spec := batchtest.Spec{BaseTimestamp: 1000}
	for range 3 {
		r := batchtest.Record{Timestamp: 900 + rng.Int64N(200), Key: make([]byte, rng.IntN(4))}
		if long && rng.IntN(20) == 0 {
			r.Value = make([]byte, 60_000+rng.IntN(20_000))
		}
		for range rng.IntN(3) {
			r.Headers = append(r.Headers, batchtest.Header{Key: "h", Value: make([]byte, rng.IntN(3))})
		}
		spec.Records = append(spec.Records, r)
	}
	raw := batchtest.Build(spec)[batch.HeaderSize:]
	for range rng.IntN(3) {
		switch at := rng.IntN(len(raw)); rng.IntN(4) {
		case 0:
			raw = raw[:max(at, 1)]
		case 1:
			raw = append(raw, byte(rng.Uint32()))
		default:
			raw[at] = byte(rng.Uint32())
		}
	}
	return raw
}

// simple decodes the records of an uncompressed batch without a care: their times,
// and whether all is well.
type decoded struct {
	times []int64
	sound bool
}

func simple(b []byte) decoded {
	var d decoded
	r := bytes.NewReader(b[batch.HeaderSize:])
	varint := func(bits int) int64 {
		before := r.Len()
		v, err := binary.ReadVarint(r)
		if err != nil || bits == 32 && (before-r.Len() > 5 || v != int64(int32(v))) {
			return math.MinInt64
		}
		return v
	}
	field := func(null bool) bool {
		n := varint(32)
		ok := n >= 0 && n <= int64(r.Len()) || n == -1 && null
		if ok && n > 0 {
			r.Seek(n, 1)
		}
		return ok
	}
	for i := range int64(3) {
		length := varint(32)
		end := int64(r.Len()) - length
		if length < 1 || end < 0 {
			return d
		}
		r.ReadByte()
		ts, delta := varint(64), varint(32)
		if ts == math.MinInt64 || delta != i || !field(true) || !field(true) {
			return d
		}
		headers := varint(32)
		if headers < 0 || headers > int64(r.Len()) {
			return d
		}
		for range headers {
			if !field(false) || !field(true) {
				return d
			}
		}
		if int64(r.Len()) != end {
			return d
		}
		d.times = append(d.times, 1000+ts)
	}
	d.sound = r.Len() == 0
	return d
}

func agree(t *testing.T, seed uint64, codec string, b []byte, want decoded) {
	t.Helper()
	newest, err := check(t, b, anything)
	if (err == nil) != want.sound {
		t.Fatalf("seed %d, %s: Check says %v, sound is %v\n%x", seed, codec, err, want.sound, b)
	}
	if err == nil {
		most := int64(-1)
		for _, ts := range want.times {
			most = max(most, ts)
		}
		if newest != most {
			t.Fatalf("seed %d, %s: newest is %d, want %d", seed, codec, newest, most)
		}
	}
	var scanned, read []int64
	scanErr := batch.Scan(t.Context(), nil, b, func(m batch.Meta) bool { scanned = append(scanned, m.Timestamp); return true })
	readErr := batch.Records(b, 1<<20, func(r batch.Record) bool { read = append(read, r.Timestamp); return true })
	if (scanErr == nil) != (readErr == nil) || len(scanned) != len(read) {
		t.Fatalf("seed %d, %s: Scan gives %d records and %v, Records %d and %v\n%x", seed, codec, len(scanned), scanErr, len(read), readErr, b)
	}
	if err == nil && (scanErr != nil || len(scanned) != len(want.times)) {
		t.Fatalf("seed %d, %s: Scan gives %v and %v, want %v", seed, codec, scanned, scanErr, want.times)
	}
}
