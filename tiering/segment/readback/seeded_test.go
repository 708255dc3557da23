package readback_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/segment/readback"
)

// bugs are changes that a wrong merger makes to records. Each changes at least one.
var bugs = map[string]func(r []record, i int) []record{
	"drops a record": func(r []record, i int) []record { return slices.Delete(r, i, i+1) },
	"doubles a record": func(r []record, i int) []record {
		again := r[len(r)-1]
		again.offset++
		return append(r, again)
	},
	"moves two records": func(r []record, i int) []record {
		if len(r) == 1 {
			return nil
		}
		j := (i + 1) % len(r)
		r[i], r[j] = r[j], r[i]
		r[i].offset, r[j].offset = r[j].offset, r[i].offset
		return r
	},
	"alters a value":     func(r []record, i int) []record { r[i].value = slices.Clone(r[i].value); r[i].value[0]++; return r },
	"alters a key":       func(r []record, i int) []record { r[i].key = []byte{r[i].key[0] + 1}; return r },
	"alters a timestamp": func(r []record, i int) []record { r[i].timestamp++; return r },
	"alters a header": func(r []record, i int) []record {
		r[i].headers = append(slices.Clone(r[i].headers), batchtest.Header{Key: "h"})
		return r
	},
	"moves the last record": func(r []record, i int) []record { r[len(r)-1].offset++; return r },
}

var bugNames = func() (names []string) {
	for name := range bugs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

// TestSeededMergers lets mergers that are right, and such that are not, write a partition
// with the batches of its sources, or with other batches and codecs.
func TestSeededMergers(t *testing.T) {
	reader := make(chan *readback.Reader, 1)
	reader <- readback.New()
	seeded.Run(t, seeded.Test[struct{}]{
		Run: func(t *seeded.T, _ struct{}) {
			r := <-reader
			defer func() { reader <- r }()
			merger(t, r)
		},
		Must: append([]string{"right", "copied", "a block lies", "a bit is flipped"}, bugNames...),
	}, 1000, 200)
}

func merger(t *seeded.T, r *readback.Reader) {
	records, end := drawRecords(t.Rand)
	draws, again := t.Rand.Uint64(), t.Rand.Uint64()
	sources := group(draws, records)
	mode, want := byRecords, sumOf(t, r, sources...)
	if t.Rand.IntN(2) == 0 { // with the batches of the sources
		t.Count("copied")
		mode, want, again = byBytes, bytesOf(t, r, sources...), draws
	}
	done := "right"
	if t.Rand.IntN(2) == 0 {
		done = bugNames[t.Rand.IntN(len(bugNames))]
		records = bugs[done](records, t.Rand.IntN(len(records)))
	}
	if len(records) == 0 {
		return
	}
	p := part{MergedPart: segment.MergedPart{Topic: id(5), TopicName: "events", From: 0, To: end}, batches: group(again, records)}
	object, m := write(t, []part{p}, segment.SharedSegment(3, id(9)))
	if done == "right" && t.Rand.IntN(3) == 0 {
		done, object = spoil(t.Rand, object, &m.Partitions[0])
	}
	t.Count(done)
	o, err := r.Object(t.Context(), bytes.NewReader(object), int64(len(object)), mode)
	found := err != nil || o.Partitions[0].Sum != want
	if found == (done == "right") || err != nil && !errors.Is(err, readback.ErrWrong) {
		t.Fatalf("the merger: %s. Read back: %+v and error %v, want %+v", done, o, err, want)
	}
}

// spoil changes an object that was written well.
func spoil(rng *rand.Rand, object []byte, p *segment.MergedPartition) (string, []byte) {
	if rng.IntN(2) == 0 {
		object[rng.IntN(len(object))] ^= 1 << rng.IntN(8)
		return "a bit is flipped", object
	}
	block := 144 + len(p.TopicName) + 36*rng.IntN(len(p.Blocks))
	return "a block lies", resealed(object, p, block+rng.IntN(36), 1<<rng.IntN(8))
}

func drawRecords(rng *rand.Rand) (records []record, end int64) {
	offset := rng.Int64N(100)
	for range 1 + rng.IntN(12) {
		records = append(records, record{offset: offset, timestamp: 1000 + rng.Int64N(100), key: []byte{byte(offset)}, value: make([]byte, 1+rng.IntN(2000))})
		offset += 1 + rng.Int64N(2)
	}
	return records, offset + 2
}

// group makes batches of records, the same ones for the same seed.
func group(seed uint64, records []record) (batches [][]byte) {
	rng := rand.New(rand.NewPCG(seed, 0))
	for rest := records; len(rest) > 0; {
		n := 1 + rng.IntN(len(rest))
		b := spec{codec: batch.Codec(rng.IntN(5)), xerial: rng.IntN(2) == 0, plain: true}.build(rest[:n]...)
		batches, rest = append(batches, b), rest[n:]
	}
	return batches
}
