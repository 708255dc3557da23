package segment_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/segment"
)

func TestBuildRefusesWhatDoesNotAddUp(t *testing.T) {
	type input struct {
		h       segment.Header
		entries []segment.Entry
		parts   []segment.Records
	}
	tests := map[string]func(*input){
		"kind 0":                       func(in *input) { *in = input{h: in.h}; in.h.Kind, in.h.WAL = 0, segment.WALRange{} },
		"floor as a journal object":    func(in *input) { *in = input{h: in.h}; in.h.Kind, in.h.WAL = segment.KindFloor, segment.WALRange{} },
		"no cluster":                   func(in *input) { in.h.Cluster = segment.ID{} },
		"no object id":                 func(in *input) { in.h.Object = segment.ID{} },
		"no node":                      func(in *input) { in.h.Node = segment.ID{} },
		"no incarnation":               func(in *input) { in.h.Incarnation = segment.ID{} },
		"epoch 0":                      func(in *input) { in.h.Epoch = 0 },
		"seq 0":                        func(in *input) { in.h.Seq, in.h.Prev, in.h.Confirmed = 0, segment.Ref{}, 0 },
		"previous at seq":              func(in *input) { in.h.Prev.Seq = in.h.Seq },
		"previous without id":          func(in *input) { in.h.Prev.Object = segment.ID{} },
		"previous without seq":         func(in *input) { in.h.Prev.Seq = 0 },
		"confirmed at seq":             func(in *input) { in.h.Confirmed = in.h.Seq },
		"write-ahead range backwards":  func(in *input) { in.h.WAL.To = in.h.WAL.From - 1 },
		"write-ahead without start":    func(in *input) { in.h.WAL.Incarnation = segment.ID{} },
		"fence with records":           func(in *input) { in.h.Kind, in.h.WAL = segment.KindFence, segment.WALRange{} },
		"filler with write-ahead":      func(in *input) { in.h.Kind, in.parts = segment.KindFiller, nil },
		"entry of kind 0":              func(in *input) { in.entries[0].Kind = 0 },
		"too many entries":             func(in *input) { in.entries = slices.Repeat(in.entries[:1], segment.MaxEntries+1) },
		"too many partitions":          func(in *input) { in.parts = manyPartitions(segment.MaxPartitions + 1) },
		"too large":                    func(in *input) { in.entries[0].Payload = make([]byte, segment.MaxObjectSize) },
		"no topic":                     func(in *input) { in.parts[0].Topic = segment.ID{} },
		"negative partition":           func(in *input) { in.parts[0].Index = -1 },
		"partition twice":              func(in *input) { in.parts[1].Partition.Index = in.parts[0].Index },
		"no batches":                   func(in *input) { in.parts[0].Batches = nil },
		"other leader epoch":           func(in *input) { in.parts[0].LeaderEpoch++ },
		"negative leader epoch":        func(in *input) { in.parts[1].LeaderEpoch = -1; in.parts[1].Batches = [][]byte{someBatch(0, -1, 1, 1)} },
		"negative offset":              func(in *input) { in.parts[1].Batches = [][]byte{someBatch(-1, 5, 1, 1)} },
		"offset beyond 63 bits":        func(in *input) { in.parts[1].Batches = [][]byte{someBatch(math.MaxInt64, 5, 2, 1)} },
		"batches out of order":         func(in *input) { b := in.parts[0].Batches; b[0], b[1] = b[1], b[0] },
		"batches overlap":              func(in *input) { batch.Patch(in.parts[0].Batches[1], 101, 4) },
		"batch cut short":              func(in *input) { b := in.parts[0].Batches; b[0] = b[0][:len(b[0])-1] },
		"bytes after a batch":          func(in *input) { b := in.parts[0].Batches; b[0] = append(b[0], 0) },
		"old message format":           func(in *input) { in.parts[0].Batches[0][16] = 1 },
		"batch without records":        func(in *input) { in.parts[0].Batches[0] = batchtest.Build(batchtest.Spec{LeaderEpoch: 4}) },
		"second batch without records": func(in *input) { set32(in.parts[0].Batches[1], 57, 0) },
		"more records than offsets":    func(in *input) { b := in.parts[0].Batches; set32(b[0], 57, 1); set32(b[1], 57, 2) },
		"overlap that leaves room": func(in *input) {
			b := in.parts[0].Batches
			set32(b[0], 57, 1)
			batch.Patch(b[1], 101, 4)
			set32(b[0], 23, 5)
		},
		"producer twice":                func(in *input) { p := in.parts[0].Producers; p[1] = p[0] },
		"negative producer":             func(in *input) { in.parts[0].Producers[0].ID = -1 },
		"negative producer epoch":       func(in *input) { in.parts[0].Producers[0].Epoch = -1 },
		"producer's batches overlap":    func(in *input) { in.parts[0].Producers[0].Batches[1].BaseOffset = 90 },
		"producer's batch backwards":    func(in *input) { in.parts[0].Producers[0].Batches[1].LastOffset = 99 },
		"producer's batch in future":    func(in *input) { in.parts[0].Producers[0].Batches[1].LastOffset = 103 },
		"negative sequence":             func(in *input) { in.parts[0].Producers[0].Batches[0].FirstSequence = -1 },
		"six batches of a producer":     func(in *input) { in.parts[0].Producers[0].Batches = sixBatches() },
		"open transaction in future":    func(in *input) { in.parts[0].OpenTxns[0].FirstOffset = 103 },
		"open transaction twice":        func(in *input) { o := in.parts[0].OpenTxns[0]; in.parts[0].OpenTxns = []segment.OpenTxn{o, o} },
		"open transaction of no one":    func(in *input) { in.parts[0].OpenTxns[0].ProducerID = -1 },
		"abort marker elsewhere":        func(in *input) { in.parts[0].AbortedTxns[0].LastOffset = 99 },
		"abort marker in future":        func(in *input) { in.parts[0].AbortedTxns[0].LastOffset = 103 },
		"aborted transaction backwards": func(in *input) { in.parts[0].AbortedTxns[0].FirstOffset = 103 },
		"aborted transaction of no one": func(in *input) { in.parts[0].AbortedTxns[0].ProducerID = -1 },
		"aborted transaction before 0":  func(in *input) { in.parts[0].AbortedTxns[0].FirstOffset = -1 },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			var in input
			in.h, in.entries, in.parts = smallObject()
			spoil(&in)
			b, f, err := segment.Build(in.h, in.entries, in.parts)
			if !errors.Is(err, segment.ErrInvalid) || b != nil || f != nil {
				t.Errorf("error is %v with %d bytes, want ErrInvalid and nothing", err, len(b))
			}
		})
	}
}

// manyPartitions share one batch.
func manyPartitions(n int) []segment.Records {
	batches := [][]byte{someBatch(0, 0, 1, 0)}
	parts := make([]segment.Records, n)
	for i := range parts {
		parts[i] = segment.Records{Partition: segment.Partition{Topic: id(1), Index: int32(i)}, Batches: batches}
	}
	return parts
}

// set32 sets a 32-bit field of a batch: the last offset delta at 23, the record
// count at 57.
func set32(b []byte, at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }

func sixBatches() []segment.ProducerBatch {
	batches := make([]segment.ProducerBatch, segment.MaxProducerBatches+1)
	for i := range batches {
		batches[i].BaseOffset, batches[i].LastOffset = int64(i), int64(i)
	}
	return batches
}

func TestBuildAcceptsTheEdges(t *testing.T) {
	first := testHeader()
	first.Seq, first.Prev, first.Confirmed, first.WAL = 1, segment.Ref{}, 0, segment.WALRange{}
	full := testHeader()
	full.WAL.To = full.WAL.From
	tests := map[string]struct {
		h       segment.Header
		entries []segment.Entry
	}{
		"first of a journal":      {first, nil},
		"empty write-ahead range": {full, nil},
		"as many entries as may be": {first, func() []segment.Entry {
			entries := make([]segment.Entry, segment.MaxEntries)
			for i := range entries {
				entries[i] = segment.Entry{Kind: 1, Payload: []byte{}}
			}
			return entries
		}()},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b, _, err := segment.Build(test.h, test.entries, nil)
			if err != nil {
				t.Fatal(err)
			}
			if o, err := segment.Decode(b); err != nil || o.Footer.Header != test.h || len(o.Entries) != len(test.entries) {
				t.Errorf("decoded to %+v, error %v", o, err)
			}
		})
	}
}

func TestBuildReachesTheSizeLimitExactly(t *testing.T) {
	h, _, _ := emptyObject(segment.KindData)
	empty, _, err := segment.Build(h, []segment.Entry{{Kind: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	room := segment.MaxObjectSize - len(empty)
	b, _, err := segment.Build(h, []segment.Entry{{Kind: 1, Payload: make([]byte, room)}}, nil)
	if err != nil || len(b) != segment.MaxObjectSize {
		t.Fatalf("%d bytes, error %v, want %d", len(b), err, segment.MaxObjectSize)
	}
	if _, err := segment.Decode(b); err != nil {
		t.Errorf("Decode: %v", err)
	}
	if _, _, err := segment.Build(h, []segment.Entry{{Kind: 1, Payload: make([]byte, room+1)}}, nil); !errors.Is(err, segment.ErrInvalid) {
		t.Errorf("a byte more gives %v, want ErrInvalid", err)
	}
	if _, _, err := segment.DecodeFooterTail(nil, segment.MaxObjectSize+1); !errors.Is(err, segment.ErrCorrupt) {
		t.Errorf("reading a byte more gives %v, want ErrCorrupt", err)
	}
}

// TestHostileRecordCountsDoNotStopTheJournal: records that Validate accepted
// must be built, even if their counts exceed the footer's 32 bits.
func TestHostileRecordCountsDoNotStopTheJournal(t *testing.T) {
	part := segment.Records{Partition: segment.Partition{Topic: id(1)}}
	base := int64(0)
	for range 4 {
		b := someBatch(base, 0, 1, 70_000)
		set32(b, 23, math.MaxInt32-1)
		set32(b, 57, math.MaxInt32)
		batchtest.FixCRC(b)
		part.Batches = append(part.Batches, b)
		base += math.MaxInt32
	}
	h, _, _ := emptyObject(segment.KindData)
	b, footer, err := segment.Build(h, nil, []segment.Records{part})
	if err != nil {
		t.Fatal(err)
	}
	if p := footer.Partitions[0]; p.Records != math.MaxUint32 || p.LastOffset != base-1 || len(p.Sparse) != 2 {
		t.Errorf("partition is %+v", p)
	}
	if _, err := segment.Decode(b); err != nil {
		t.Error(err)
	}
}

// TestBuildPutsItsInputInOrder draws objects and builds each from any order.
func TestBuildPutsItsInputInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []segment.Records
		for i := range rapid.IntRange(0, 6).Draw(t, "partitions") {
			parts = append(parts, drawRecords(t, int32(i)))
		}
		h, _, _ := emptyObject(segment.KindData)
		want, _, err := segment.Build(h, nil, parts)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := append([]segment.Records{}, rapid.Permutation(parts).Draw(t, "order")...)
		for i := range shuffled {
			p := &shuffled[i]
			p.Producers = rapid.Permutation(p.Producers).Draw(t, "producers")
			p.OpenTxns = rapid.Permutation(p.OpenTxns).Draw(t, "open")
		}
		describe := func() (s string) {
			for _, p := range shuffled {
				s += fmt.Sprintln(p.Partition, len(p.Batches))
			}
			return s
		}
		before := describe()
		got, footer, err := segment.Build(h, nil, shuffled)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("another order of input gives other bytes, error %v", err)
		}
		if describe() != before {
			t.Fatal("Build changed its input")
		}
		o, err := segment.Decode(got)
		if err != nil || !reflect.DeepEqual(o.Footer, footer) {
			t.Fatalf("decoded to %+v, error %v, built %+v", o, err, footer)
		}
		for i := range o.Footer.Partitions {
			p := &o.Footer.Partitions[i]
			if !bytes.Equal(o.Batches(p), bytes.Join(parts[p.Index].Batches, nil)) {
				t.Fatalf("partition %d has other batches", p.Index)
			}
		}
	})
}

// TestTheCRCOfAnObjectFollowsFromItsParts builds objects in memory with contents.
func TestTheCRCOfAnObjectFollowsFromItsParts(t *testing.T) {
	pool := buffer.NewPool(1 << 30)
	rapid.Check(t, func(t *rapid.T) {
		h, entries, _ := smallObject()
		var parts []segment.Records
		for i := range rapid.IntRange(0, 6).Draw(t, "partitions") {
			parts = append(parts, drawRecords(t, int32(i)))
		}
		e, _, err := segment.Encode(pool, h, entries, parts)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Memory.Release()
		if want := crc32.Checksum(e.Memory.Bytes(), crc32.MakeTable(crc32.Castagnoli)); e.CRC != want {
			t.Fatalf("%d bytes have CRC %08x, not %08x", len(e.Memory.Bytes()), want, e.CRC)
		}
		plain, _, err := segment.Build(h, entries, parts)
		if err != nil || !bytes.Equal(plain, e.Memory.Bytes()) {
			t.Fatalf("memory that was used before gives other bytes, error %v", err)
		}
	})
}

func drawRecords(t *rapid.T, index int32) segment.Records {
	epoch := rapid.Int32Range(0, 100).Draw(t, "epoch")
	p := segment.Records{Partition: segment.Partition{Topic: id(byte(1 + index/2)), Index: index, LeaderEpoch: epoch}}
	base := rapid.Int64Range(3, 1<<40).Draw(t, "base") // above all open transactions
	for range rapid.IntRange(1, 8).Draw(t, "batches") {
		n := rapid.IntRange(1, 3).Draw(t, "records")
		p.Batches = append(p.Batches, someBatch(base, epoch, n, rapid.SampledFrom([]int{0, 10, 40_000}).Draw(t, "size")))
		base += int64(n) + rapid.Int64Range(0, 2).Draw(t, "gap")
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "producers") {
		p.Producers = append(p.Producers, segment.Producer{ID: int64(i), Epoch: int16(i)})
		p.OpenTxns = append(p.OpenTxns, segment.OpenTxn{ProducerID: int64(i), FirstOffset: int64(i)})
	}
	return p
}

func TestBuildAcceptsAsManyPartitionsAsMayBe(t *testing.T) {
	h, _, _ := emptyObject(segment.KindData)
	b, _, err := segment.Build(h, nil, manyPartitions(segment.MaxPartitions))
	if err != nil {
		t.Fatal(err)
	}
	if o, err := segment.Decode(b); err != nil || len(o.Footer.Partitions) != segment.MaxPartitions {
		t.Errorf("Decode gives %v", err)
	}
}

func benchmarkBuild(b *testing.B, partitions int) {
	const total = 8 << 20
	h, _, _ := emptyObject(segment.KindData)
	parts := make([]segment.Records, partitions)
	for i := range parts {
		parts[i].Topic, parts[i].Index = id(1), int32(i)
		size := min(16<<10, total/partitions)
		for n := range total / partitions / size {
			one := batchtest.Build(batchtest.Spec{Records: []batchtest.Record{{Value: make([]byte, size-70)}}, BaseOffset: int64(n)})
			parts[i].Batches = append(parts[i].Batches, one)
		}
	}
	var object []byte
	for b.Loop() {
		var err error
		if object, _, err = segment.Build(h, nil, parts); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
}

func BenchmarkBuild8MiBOnePartition(b *testing.B) { benchmarkBuild(b, 1) }

func BenchmarkBuild8MiBThousandPartitions(b *testing.B) { benchmarkBuild(b, 1000) }

func BenchmarkDecode8MiBThousandPartitions(b *testing.B) {
	h, _, _ := emptyObject(segment.KindData)
	parts := make([]segment.Records, 1000)
	for i := range parts {
		parts[i].Topic, parts[i].Index, parts[i].Batches = id(1), int32(i), [][]byte{someBatch(0, 0, 1, 8<<10)}
	}
	object, _, err := segment.Build(h, nil, parts)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := segment.Decode(object); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
}
