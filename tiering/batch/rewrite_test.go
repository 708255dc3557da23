package batch_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

const anyRecord = 1 << 20

// levels are levels of each codec that topic configs allow.
var levels = map[batch.Codec][]int{
	batch.None: {0}, batch.Gzip: {-1, 1, 9}, batch.Snappy: {0}, batch.LZ4: {1, 2, 9, 17}, batch.Zstd: {-5, 3, 22},
}

// someBatch is a batch of an idempotent producer, with records of many kinds.
func someBatch(rng *rand.Rand) batchtest.Spec {
	spec := batchtest.Spec{
		BaseOffset: 1 << 40, LeaderEpoch: 7, ProducerID: 99, Epoch: 3, Sequence: 1000, BaseTimestamp: 5000,
		Codec: batch.Codec(rng.IntN(5)), Xerial: rng.IntN(2) == 0,
	}
	for range 1 + rng.IntN(30) {
		r := batchtest.Record{Timestamp: 4000 + rng.Int64N(2000)}
		if rng.IntN(4) > 0 {
			r.Key = make([]byte, rng.IntN(20))
		}
		if rng.IntN(4) > 0 {
			r.Value = bytes.Repeat([]byte("value "), rng.IntN(3000))
		}
		for range rng.IntN(3) {
			r.Headers = append(r.Headers, batchtest.Header{Key: "h", Value: make([]byte, rng.IntN(5))})
		}
		spec.Records = append(spec.Records, r)
	}
	return spec
}

// TestRewriteKeepsRecordsAndHeader rewrites random batches in every codec, and compares the
// records and the fields that clients and producers see.
func TestRewriteKeepsRecordsAndHeader(t *testing.T) {
	seed := seeded.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 150 {
		b := batchtest.Build(someBatch(rng))
		all, err := collect(b, anyRecord)
		if err != nil {
			t.Fatal(err)
		}
		every := 1 + rng.IntN(3)
		chosen := func(r batch.Record) bool { return r.Offset%int64(every) == 0 }
		var want []batch.Record
		for _, r := range all {
			if chosen(r) {
				want = append(want, r)
			}
		}
		for codec, some := range levels {
			level := some[rng.IntN(len(some))]
			out, n, err := batch.Rewrite([]byte("before"), b, batch.Rewriting{Codec: codec, Level: level, Keep: chosen, MaxRecord: anyRecord})
			if err != nil || n != len(want) {
				t.Fatalf("seed %d: %d records of %d, error %v", seed, n, len(want), err)
			}
			if string(out[:6]) != "before" {
				t.Fatalf("seed %d: the bytes before changed", seed)
			}
			if n == 0 && len(out) == 6 {
				continue
			}
			compareRewritten(t, b, out[6:], codec, want)
		}
	}
}

func compareRewritten(t *testing.T, before, after []byte, codec batch.Codec, want []batch.Record) {
	t.Helper()
	old, _ := batch.Parse(before)
	h, err := batch.Parse(after)
	if err != nil || h.Size() != len(after) || !batch.CheckCRC(after, h) {
		t.Fatalf("batch of %d bytes is not sound: %v", len(after), err)
	}
	got, err := collect(after, anyRecord)
	if err != nil {
		t.Fatal(err)
	}
	latest := int64(-1)
	for i, r := range got {
		latest = max(latest, r.Timestamp)
		w := want[i]
		if r.Offset != w.Offset || r.Timestamp != w.Timestamp || !reflect.DeepEqual(r.Key, w.Key) || !reflect.DeepEqual(r.Value, w.Value) || !reflect.DeepEqual(r.Headers, w.Headers) {
			t.Fatalf("record %d is %+v, was %+v", i, r, w)
		}
	}
	if len(got) != len(want) || h.MaxTimestamp != latest || h.Compression() != codec {
		t.Fatalf("%d records up to %d in %v, want %d up to %d in %v", len(got), h.MaxTimestamp, h.Compression(), len(want), latest, codec)
	}
	h.Length, h.CRC, h.Attributes, h.MaxTimestamp, h.Records = old.Length, old.CRC, old.Attributes, old.MaxTimestamp, old.Records
	if h != old {
		t.Fatalf("header is %+v, was %+v", h, old)
	}
}

// TestRewrittenBatchesAreOnesThatClientsRead holds the result to the checks of new batches,
// which refuse formats that some client cannot read.
func TestRewrittenBatchesAreOnesThatClientsRead(t *testing.T) {
	b := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1000, "one", string(bytes.Repeat([]byte("abcd"), 100_000)), "three")})
	for codec, some := range levels {
		for _, level := range some {
			out, _, err := batch.Rewrite(nil, b, batch.Rewriting{Codec: codec, Level: level, MaxRecord: anyRecord})
			if err != nil {
				t.Fatal(err)
			}
			h, err := batch.Validate(out, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := batch.Check(context.Background(), batch.NewRoom(64<<20, 4), out, h, batch.Rules{Newest: 1 << 60}); err != nil {
				t.Errorf("%v, level %d: %v", codec, level, err)
			}
		}
	}
}

func TestRewriteLeavesSomeBatchesAlone(t *testing.T) {
	records := batchtest.Values(1000, "a", "b")
	broken := batchtest.Build(batchtest.Spec{Records: records, Codec: batch.Zstd})
	broken[len(broken)-3] ^= 0xff
	for name, b := range map[string][]byte{
		"transactional": batchtest.Build(batchtest.Spec{Records: records, ProducerID: 5, Transactional: true}),
		"control":       batchtest.Build(batchtest.Spec{Records: records, ProducerID: 5, Transactional: true, Control: true}),
		"broken":        broken,
		"large": batchtest.Build(batchtest.Spec{Codec: batch.Zstd, Records: []batchtest.Record{
			{Timestamp: 1, Value: make([]byte, 40<<20)}, {Timestamp: 1, Value: make([]byte, 40<<20)},
		}}),
	} {
		out, kept, err := batch.Rewrite([]byte("x"), b, batch.Rewriting{Codec: batch.None, MaxRecord: 64 << 20})
		if !errors.Is(err, batch.ErrVerbatim) || string(out) != "x" || kept != 0 {
			t.Errorf("%s: %d bytes, %d records, error %v", name, len(out), kept, err)
		}
	}
}

func TestRewriteKeepsTheBrokersTime(t *testing.T) {
	b := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1000, "a", "b")})
	batch.SetLogAppendTime(b, 77_000)
	out, _, err := batch.Rewrite(nil, b, batch.Rewriting{Codec: batch.LZ4, Level: 9, Keep: func(r batch.Record) bool { return r.Offset == 0 }, MaxRecord: anyRecord})
	if err != nil {
		t.Fatal(err)
	}
	if h, _ := batch.Parse(out); h.MaxTimestamp != 77_000 || !h.LogAppendTime() {
		t.Errorf("header is %+v", h)
	}
}
