package batch_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// The limits of allocation: how much a call may allocate for n bytes of input.
const (
	fuzzLimit = 1 << 20  // of Records
	allocCap  = 66 << 20 // for one batch; and for lz4's decoding of one block, 4 MiB, in and out
)

func seed(f *testing.F) {
	for _, spec := range codecs {
		spec.Records = batchtest.Values(1, "value", "value")
		spec.Records[0].Headers = []batchtest.Header{{Key: "k"}}
		f.Add(batchtest.Build(spec))
		spec.ProducerID, spec.Transactional = 4, true
		f.Add(append(batchtest.Build(spec), batchtest.Build(spec)...))
	}
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Add(idempotent()[:40])
}

func checkAllocation(t *testing.T, input []byte, call func()) {
	call() // pools and decoders are filled once
	if n := allocated(call); n > 4*uint64(len(input))+allocCap {
		t.Errorf("%d bytes of input made it allocate %d", len(input), n)
	}
}

// FuzzParse compares Parse with another decoder, and Walk with Parse.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := batch.Parse(b)
		if err == nil {
			var theirs kmsg.RecordBatch
			if err := theirs.ReadFrom(b[:h.Size()]); err != nil {
				t.Fatalf("kmsg refuses the batch: %v", err)
			}
			if again := theirs.AppendTo(nil); !bytes.Equal(again, b[:h.Size()]) || theirs.NumRecords != h.Records || theirs.CRC != int32(h.CRC) {
				t.Fatalf("kmsg reads %+v, Parse %+v", theirs, h)
			}
		}
		covered := 0
		err = batch.Walk(b, func(pos int, h batch.Header) error {
			if again, err := batch.Parse(b[pos:]); err != nil || again != h || pos != covered {
				t.Fatalf("Walk gives %+v at %d after %d bytes, Parse %+v and %v", h, pos, covered, again, err)
			}
			covered += h.Size()
			return nil
		})
		if (err == nil) != (covered == len(b)) {
			t.Fatalf("Walk covers %d of %d bytes with error %v", covered, len(b), err)
		}
	})
}

// FuzzValidate holds that every error has one class, and that an accepted batch
// stays one however a broker patches it.
func FuzzValidate(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		checkValidate(t, b)
		if len(b) > batch.HeaderSize {
			checkValidate(t, batchtest.FixCRC(bytes.Clone(b))) // so that damage gets past the CRC
		}
	})
}

func checkValidate(t *testing.T, b []byte) {
	h, err := batch.Validate(b, 1<<16)
	if err != nil {
		n := 0
		for _, class := range classes {
			if errors.Is(err, class) {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("error %v has %d classes", err, n)
		}
		return
	}
	b = bytes.Clone(b)
	batch.Patch(b, 1<<50, 12)
	batch.SetLogAppendTime(b, 99)
	got, err := batch.Parse(b)
	if err != nil || !batch.CheckCRC(b, got) {
		t.Fatalf("patched batch: %v, CRC %v", err, batch.CheckCRC(b, got))
	}
	h.BaseOffset, h.LeaderEpoch, h.MaxTimestamp, h.Attributes, h.CRC = 1<<50, 12, 99, h.Attributes|8, got.CRC
	if got != h {
		t.Fatalf("patched header is %+v, want %+v", got, h)
	}
}

// FuzzRecords holds that records come out encoded as they went in, that nothing
// panics, and that memory stays bounded.
func FuzzRecords(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var spec batchtest.Spec
		checkAllocation(t, b, func() { batch.Records(b, fuzzLimit, func(batch.Record) bool { return true }) })
		err := batch.Records(b, fuzzLimit, func(r batch.Record) bool {
			record := batchtest.Record{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
			for key, value := range r.Headers.All() {
				record.Headers = append(record.Headers, batchtest.Header{Key: string(key), Value: value})
			}
			spec.Records = append(spec.Records, record)
			return true
		})
		if err != nil || len(spec.Records) == 0 {
			return
		}
		got, err := collect(batchtest.Build(spec), 1<<30)
		if err != nil {
			t.Fatalf("records built again: %v", err)
		}
		for i, r := range got {
			w := spec.Records[i]
			if w.Timestamp == 0 {
				w.Timestamp = spec.Records[0].Timestamp // as Build has it
			}
			if r.Timestamp != w.Timestamp || !same(r.Key, w.Key) || !same(r.Value, w.Value) || r.Headers.Len() != len(w.Headers) {
				t.Fatalf("record %d is %+v, want %+v", i, r, w)
			}
		}
	})
}

// FuzzCheck compares Check with a decoder that reads everything into memory. A batch that
// Check accepts must be readable by all functions of the package.
func FuzzCheck(f *testing.F) {
	names := slices.Sorted(maps.Keys(codecs))
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range uint8(60) {
		f.Add(i, mutatedRecords(rng, false))
	}
	f.Fuzz(func(t *testing.T, codec uint8, raw []byte) {
		if len(raw) == 0 {
			return
		}
		want := simple(with(batch.None, raw))
		agree(t, 0, "none", with(batch.None, raw), want)
		name := names[int(codec)%len(names)]
		spec := codecs[name]
		agree(t, 0, name, with(spec.Codec, batchtest.Compress(spec.Codec, spec.Xerial, raw)), want)
	})
}

// FuzzDecompress puts hostile streams behind an honest header.
func FuzzDecompress(f *testing.F) {
	for _, spec := range codecs {
		f.Add(uint8(spec.Codec), batchtest.Compress(spec.Codec, spec.Xerial, bytes.Repeat([]byte("records"), 100)))
	}
	f.Fuzz(func(t *testing.T, codec uint8, payload []byte) {
		b := append(idempotent()[:batch.HeaderSize:batch.HeaderSize], payload...)
		put16(put32(b, 8, int32(len(b)-12)), 21, int16(codec&7))
		checkAllocation(t, payload, func() { batch.Records(b, fuzzLimit, func(batch.Record) bool { return true }) })
		h, err := batch.Parse(b)
		if err != nil {
			return
		}
		checkAllocation(t, payload, func() {
			_, err = batch.Check(context.Background(), nil, b, h, anything)
		})
		if err != nil && !errors.Is(err, batch.ErrInvalidRecord) {
			t.Fatalf("error is %v, want ErrInvalidRecord", err)
		}
	})
}
