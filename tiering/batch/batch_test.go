package batch_test

import (
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

func TestRecordsComeBackFromEveryCodec(t *testing.T) {
	specs := map[string]batchtest.Spec{
		"none":   {Codec: batch.None},
		"gzip":   {Codec: batch.Gzip},
		"snappy": {Codec: batch.Snappy},
		"xerial": {Codec: batch.Snappy, Xerial: true},
		"lz4":    {Codec: batch.LZ4},
		"zstd":   {Codec: batch.Zstd},
	}
	for name, spec := range specs {
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
			var got []batch.Record
			if err := batch.Records(b, 1<<20, func(r batch.Record) bool { got = append(got, r); return true }); err != nil {
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

// same compares bytes and tells null from empty.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }
