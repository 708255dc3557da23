package batch_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

func TestBuiltBatchIsWhatAProducerSends(t *testing.T) {
	for _, records := range [][]batchtest.Record{
		{{Key: []byte("k"), Value: []byte("v"), Timestamp: 1_700_000_000_000}},
		{{Key: []byte("k"), Timestamp: 5}, {Value: []byte{}, Timestamp: 4}, {Key: []byte{}, Value: []byte(strings.Repeat("v", 300)), Timestamp: 900}},
		{{Timestamp: 1}, {Timestamp: 1}},
	} {
		want := batchtest.Build(batchtest.Spec{Records: records})
		plain := make([]batch.Record, len(records))
		for i, r := range records {
			plain[i] = batch.Record{Timestamp: r.Timestamp, Key: r.Key, Value: r.Value}
		}
		got, h := batch.Build(plain)
		if !bytes.Equal(got, want) {
			t.Errorf("got\n%x, want\n%x", got, want)
		}
		if valid, err := batch.Validate(got, len(got)); err != nil || valid != h {
			t.Errorf("header %+v, validated %+v, %v", h, valid, err)
		}
	}
}

func TestBuiltBatchReadsBack(t *testing.T) {
	with := batchtest.Build(batchtest.Spec{Records: []batchtest.Record{
		{Timestamp: 7, Value: []byte("v"), Headers: []batchtest.Header{{Key: "a", Value: []byte("b")}, {Key: "n"}}},
	}})
	var again []byte
	if err := batch.Records(with, 1<<10, func(r batch.Record) bool {
		again, _ = batch.Build([]batch.Record{r})
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, with) {
		t.Errorf("got\n%x, want\n%x", again, with)
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1, 100} {
		records := make([]batch.Record, n)
		for i := range records {
			records[i] = batch.Record{Timestamp: 1, Key: make([]byte, 60), Value: make([]byte, 40)}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				batch.Build(records)
			}
		})
	}
}
