package segment_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
)

// mergedPart is a partition of a merged segment with its batches.
type mergedPart struct {
	segment.MergedPart
	batches [][]byte
}

func testMergedHeader(name segment.Name) segment.MergedHeader {
	return segment.MergedHeader{
		Name: name, Journal: 3, Cluster: id(0xc1), Job: id(0x0e), Node: id(0x0d), Incarnation: id(0x1c), BuiltMs: 1_700_000_000_000,
	}
}

// smallMerged has every kind of content.
func smallMerged() (segment.MergedHeader, []mergedPart) {
	return testMergedHeader(segment.SharedSegment(3, id(0x0b))), []mergedPart{{
		MergedPart: segment.MergedPart{
			Topic: id(0x70), Index: 2, TopicName: "events", From: 98, To: 120, SourceMs: 1_699_999_999_000,
			AbortedTxns: []segment.AbortedTxn{{ProducerID: 12, FirstOffset: 80, LastOffset: 102}},
		},
		batches: [][]byte{someBatch(100, 4, 2, 10), someBatch(105, 5, 1, 10)},
	}, {
		MergedPart: segment.MergedPart{Topic: id(0x70), Index: 10, TopicName: "events", From: 0, To: 1, SourceMs: 1_699_999_999_001},
		batches:    [][]byte{someBatch(0, 5, 1, 3)},
	}}
}

// writeMerged writes an object to w.
func writeMerged(w io.Writer, h segment.MergedHeader, parts []mergedPart) (segment.Merged, error) {
	m, err := segment.NewMergedWriter(w, h)
	if err != nil {
		return segment.Merged{}, err
	}
	for _, p := range parts {
		if err := m.Begin(p.MergedPart); err != nil {
			return segment.Merged{}, err
		}
		for _, b := range p.batches {
			if err := m.Append(b, nil); err != nil {
				return segment.Merged{}, err
			}
		}
		if _, err := m.End(); err != nil {
			return segment.Merged{}, err
		}
	}
	return m.Close()
}

// checkMerged decodes an object, and holds it against its account and its batches.
func checkMerged(t rapid.TB, b []byte, h segment.MergedHeader, parts []mergedPart, m segment.Merged) {
	t.Helper()
	if m.Size != int64(len(b)) || m.CRC32C != crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) {
		t.Fatalf("%d bytes have another size or CRC than the writer returned: %d, %x", len(b), m.Size, m.CRC32C)
	}
	if got, err := segment.DecodeMergedHeader(b); err != nil || got != h {
		t.Fatalf("header is %+v and %v, want %+v", got, err, h)
	}
	d, need, err := segment.DecodeMergedTail(nil, m.Size)
	for ; err == nil && d == nil; d, need, err = segment.DecodeMergedTail(b[m.Size-need:], m.Size) {
	}
	if err != nil || d.Object != h.Name.Object || len(d.Sections) != len(parts) || len(m.Partitions) != len(parts) {
		t.Fatalf("directory is %+v and %v", d, err)
	}
	for i, s := range d.Sections {
		p, err := segment.DecodeMergedPartition(b[s.Position:][:s.Length])
		if err != nil || !reflect.DeepEqual(*p, m.Partitions[i]) || s.Position != p.Position+p.Length || !reflect.DeepEqual(p.MergedPart, parts[i].MergedPart) {
			t.Fatalf("section is %+v and %v, the writer returned %+v", p, err, m.Partitions[i])
		}
		batches := b[p.Position:][:p.Length]
		if !bytes.Equal(batches, bytes.Join(parts[i].batches, nil)) || p.CRC != crc32.Checksum(batches, crc32.MakeTable(crc32.Castagnoli)) {
			t.Fatalf("partition %d has other batches", i)
		}
		checkBlocks(t, b, p)
	}
}

func checkBlocks(t rapid.TB, b []byte, p *segment.MergedPartition) {
	t.Helper()
	records, epochs := uint64(0), p.Epochs
	for _, block := range p.Blocks {
		data, newest := b[block.Position:][:block.Length], int64(-1)
		if err := block.Check(data); err != nil {
			t.Fatal(err)
		}
		first, last, known := int64(-1), int64(-1), true
		err := batch.Walk(data, func(pos int, h batch.Header) error {
			if first < 0 {
				first = h.BaseOffset
			}
			if len(epochs) > 0 && epochs[0].Start == h.BaseOffset {
				if epochs[0].Epoch != h.LeaderEpoch {
					t.Fatalf("leader epoch %d starts at %d, the batch there has %d", epochs[0].Epoch, epochs[0].Start, h.LeaderEpoch)
				}
				epochs = epochs[1:]
			}
			last, newest, known = h.LastOffset(), max(newest, h.MaxTimestamp), known && h.UpTo() != math.MaxInt64
			records += uint64(h.Records)
			return nil
		})
		if !known {
			newest = -1
		}
		if err != nil || first != block.First || last != block.Last || newest != block.MaxTimestamp {
			t.Fatalf("block %+v has offsets %d to %d, max timestamp %d, %v", block, first, last, newest, err)
		}
	}
	if records != p.Records || len(epochs) > 0 {
		t.Fatalf("%d records, and leader epochs %v nowhere, of %+v", records, epochs, p)
	}
}

func TestMergedSegmentsDecodeToWhatWasWritten(t *testing.T) {
	h, parts := smallMerged()
	var b bytes.Buffer
	m, err := writeMerged(&b, h, parts)
	if err != nil {
		t.Fatal(err)
	}
	checkMerged(t, b.Bytes(), h, parts, m)
	if want := []batch.EpochStart{{Epoch: 4, Start: 100}, {Epoch: 5, Start: 105}}; !reflect.DeepEqual(m.Partitions[0].Epochs, want) {
		t.Errorf("leader epochs are %v, want %v", m.Partitions[0].Epochs, want)
	}
}

// TestMergedSegmentsOfAllShapes draws segments and decodes them.
func TestMergedSegmentsOfAllShapes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, parts := testMergedHeader(segment.SharedSegment(3, id(0x0b))), []mergedPart(nil)
		for i := range rapid.IntRange(1, 5).Draw(t, "partitions") {
			parts = append(parts, drawMerged(t, int32(i)))
		}
		if len(parts) == 1 && rapid.Bool().Draw(t, "own") {
			h.Name = segment.OwnSegment(parts[0].Topic, parts[0].Index, parts[0].From, id(0x0b))
		}
		var b bytes.Buffer
		m, err := writeMerged(&b, h, parts)
		if err != nil {
			t.Fatal(err)
		}
		checkMerged(t, b.Bytes(), h, parts, m)
	})
}

func drawMerged(t *rapid.T, index int32) mergedPart {
	base, epoch := rapid.Int64Range(0, 1<<40).Draw(t, "base"), int32(0)
	p := mergedPart{MergedPart: segment.MergedPart{Topic: id(byte(1 + index/2)), Index: index, TopicName: "t", SourceMs: 5}}
	p.From = max(0, base-rapid.Int64Range(0, 3).Draw(t, "before"))
	for range rapid.IntRange(1, 8).Draw(t, "batches") {
		n := rapid.IntRange(1, 3).Draw(t, "records")
		p.batches = append(p.batches, someBatch(base, epoch, n, rapid.SampledFrom([]int{0, 10, 400_000}).Draw(t, "size")))
		base += int64(n) + rapid.Int64Range(0, 2).Draw(t, "gap")
		epoch += rapid.Int32Range(0, 1).Draw(t, "epoch")
	}
	p.To = base + rapid.Int64Range(0, 2).Draw(t, "after")
	return p
}

// TestBlocksEndOnBatchBoundaries writes batches of 400 and 1100 KB.
func TestBlocksEndOnBatchBoundaries(t *testing.T) {
	p := mergedPart{MergedPart: segment.MergedPart{Topic: id(1), TopicName: "t", To: 9}}
	for i, size := range []int{400_000, 400_000, 400_000, 1_100_000, 10, 10} {
		p.batches = append(p.batches, someBatch(int64(i), 0, 1, size))
	}
	m, err := writeMerged(io.Discard, testMergedHeader(segment.OwnSegment(id(1), 0, 0, id(2))), []mergedPart{p})
	if err != nil {
		t.Fatal(err)
	}
	var lasts []int64
	for _, b := range m.Partitions[0].Blocks {
		lasts = append(lasts, b.Last)
	}
	if want := []int64{1, 2, 3, 5}; !reflect.DeepEqual(lasts, want) {
		t.Errorf("blocks end with offsets %v, want %v", lasts, want)
	}
}

// TestMergedWriterTakesBetterTimes writes a batch whose header names no time.
func TestMergedWriterTakesBetterTimes(t *testing.T) {
	m, err := segment.NewMergedWriter(io.Discard, testMergedHeader(segment.SharedSegment(3, id(0x0b))))
	if err != nil {
		t.Fatal(err)
	}
	b := someBatch(0, 0, 1, 1)
	batch.SetMaxTimestamp(b, -1)
	must(t, m.Begin(segment.MergedPart{Topic: id(1), TopicName: "t", To: 1}))
	must(t, m.Append(b, &batch.Header{MaxTimestamp: 77}))
	if p, err := m.End(); err != nil || p.MaxTimestamp != 77 || p.Blocks[0].MaxTimestamp != 77 {
		t.Errorf("partition is %+v and %v", p, err)
	}
	must(t, m.Begin(segment.MergedPart{Topic: id(2), TopicName: "t", To: 3}))
	must(t, m.Append(b, nil))
	must(t, m.Append(someBatch(1, 0, 1, 1_100_000), &batch.Header{MaxTimestamp: 77}))
	if p, err := m.End(); err != nil || p.MaxTimestamp != -1 || p.Blocks[0].MaxTimestamp != -1 || p.Blocks[1].MaxTimestamp < 77 {
		t.Errorf("partition of a batch whose time is not known is %+v and %v", p, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// limited fails once it has n bytes.
type limited struct{ n int }

var errFull = errors.New("no space left")

func (l *limited) Write(b []byte) (int, error) {
	if l.n -= len(b); l.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestMergedWriterKeepsItsError(t *testing.T) {
	h, parts := smallMerged()
	whole, err := writeMerged(io.Discard, h, parts)
	if err != nil {
		t.Fatal(err)
	}
	for n := range int(whole.Size) {
		if _, err := writeMerged(&limited{n}, h, parts); !errors.Is(err, errFull) {
			t.Fatalf("with room for %d bytes of %d: error is %v", n, whole.Size, err)
		}
	}
	m, err := segment.NewMergedWriter(io.Discard, h)
	must(t, err)
	for _, call := range []func() error{
		func() error { return m.Append(someBatch(0, 0, 1, 1), nil) },
		func() error { return m.Begin(parts[0].MergedPart) },
		func() error { _, err := m.End(); return err },
		func() error { _, err := m.Close(); return err },
	} {
		if err := call(); !errors.Is(err, segment.ErrInvalid) {
			t.Errorf("error is %v, want the first one", err)
		}
	}
}

func TestMergedWriterRefusesWhatDoesNotAddUp(t *testing.T) {
	type input struct {
		h     segment.MergedHeader
		parts []mergedPart
	}
	own := func(in *input) {
		p := &in.parts[0]
		in.h.Name, in.parts = segment.OwnSegment(p.Topic, p.Index, p.From, id(0x0b)), in.parts[:1]
	}
	tests := map[string]func(*input){
		"no cluster":                 func(in *input) { in.h.Cluster = segment.ID{} },
		"no job":                     func(in *input) { in.h.Job = segment.ID{} },
		"no node":                    func(in *input) { in.h.Node = segment.ID{} },
		"no incarnation":             func(in *input) { in.h.Incarnation = segment.ID{} },
		"no object":                  func(in *input) { in.h.Name.Object = segment.ID{} },
		"a data object":              func(in *input) { in.h.Name = segment.DataObject(3, 1) },
		"another journal":            func(in *input) { in.h.Journal++ },
		"own segment of two":         func(in *input) { all := in.parts; own(in); in.parts = all },
		"own segment of another":     func(in *input) { own(in); in.h.Name.Partition++ },
		"own segment from elsewhere": func(in *input) { own(in); in.h.Name.Base++ },
		"own segment with a journal": func(in *input) { own(in); in.h.Name.Journal = 3 },
		"no partition":               func(in *input) { in.parts = nil },
		"partitions out of order":    func(in *input) { in.parts[0], in.parts[1] = in.parts[1], in.parts[0] },
		"partition twice":            func(in *input) { in.parts[1].Index = in.parts[0].Index },
		"no topic":                   func(in *input) { in.parts[0].Topic = segment.ID{} },
		"negative partition":         func(in *input) { in.parts[0].Index = -1 },
		"no name":                    func(in *input) { in.parts[0].TopicName = "" },
		"long name":                  func(in *input) { in.parts[0].TopicName = string(make([]byte, segment.MaxTopicName+1)) },
		"range backwards":            func(in *input) { in.parts[0].To = in.parts[0].From },
		"range before 0":             func(in *input) { in.parts[1].From = -1 },
		"batch before the range":     func(in *input) { in.parts[0].From = 101 },
		"batch after the range":      func(in *input) { in.parts[0].To = 105 },
		"no batches":                 func(in *input) { in.parts[0].batches = nil },
		"batches out of order":       func(in *input) { b := in.parts[0].batches; b[0], b[1] = b[1], b[0] },
		"batches overlap":            func(in *input) { batch.Patch(in.parts[0].batches[1], 101, 5) },
		"batch twice":                func(in *input) { b := in.parts[0].batches; b[1] = b[0] },
		"flipped batch":              func(in *input) { b := in.parts[0].batches[1]; b[len(b)-1] ^= 1 },
		"batch cut short":            func(in *input) { b := in.parts[0].batches; b[0] = b[0][:len(b[0])-1] },
		"bytes after a batch":        func(in *input) { b := in.parts[0].batches; b[0] = append(b[0], 0) },
		"more records than offsets":  func(in *input) { b := in.parts[0].batches[0]; set32(b, 57, 3); batchtest.FixCRC(b) },
		"negative records":           func(in *input) { b := in.parts[0].batches[0]; set32(b, 57, 1<<31); batchtest.FixCRC(b) },
		"leader epoch goes down":     func(in *input) { batch.Patch(in.parts[0].batches[1], 105, 3) },
		"negative leader epoch":      func(in *input) { batch.Patch(in.parts[1].batches[0], 0, -1) },
		"aborted before the range":   func(in *input) { in.parts[0].AbortedTxns[0].LastOffset = 97 },
		"aborted after the range": func(in *input) {
			in.parts[0].AbortedTxns[0] = segment.AbortedTxn{ProducerID: 1, FirstOffset: 120, LastOffset: 121}
		},
		"aborted of no one":            func(in *input) { in.parts[0].AbortedTxns[0].ProducerID = -1 },
		"aborted backwards":            func(in *input) { in.parts[0].AbortedTxns[0].FirstOffset = 103 },
		"aborted twice":                func(in *input) { a := in.parts[0].AbortedTxns[0]; in.parts[0].AbortedTxns = []segment.AbortedTxn{a, a} },
		"a record at the last of 2^63": func(in *input) { in.parts[0].To = -1 << 63 },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			var in input
			in.h, in.parts = smallMerged()
			spoil(&in)
			if m, err := writeMerged(io.Discard, in.h, in.parts); !errors.Is(err, segment.ErrInvalid) {
				t.Errorf("%+v and error %v, want ErrInvalid", m, err)
			}
		})
	}
}

// TestMergedWriterStopsAtTheLimit writes until there is no room.
func TestMergedWriterStopsAtTheLimit(t *testing.T) {
	m, err := segment.NewMergedWriter(io.Discard, testMergedHeader(segment.SharedSegment(3, id(0x0b))))
	must(t, err)
	for topic := byte(1); m.Room() > 1<<10; topic++ {
		must(t, m.Begin(segment.MergedPart{Topic: id(topic), TopicName: "t", To: 1 << 40}))
		for base := int64(0); base < 40 && m.Room() > 1<<10; base++ {
			b := someBatch(base, 0, 1, int(min(m.Room()-128, 1<<20)))
			if int64(len(b)) > m.Room() {
				t.Fatalf("batch of %d bytes, room for %d", len(b), m.Room())
			}
			must(t, m.Append(b, nil))
		}
		_, err := m.End()
		must(t, err)
	}
	if whole, err := m.Close(); err != nil || whole.Size > segment.MaxMergedSize || whole.Size < segment.MaxMergedSize-2<<10 {
		t.Errorf("%d bytes and %v, at most %d", whole.Size, err, segment.MaxMergedSize)
	}
	m, err = segment.NewMergedWriter(io.Discard, testMergedHeader(segment.SharedSegment(3, id(0x0b))))
	must(t, err)
	must(t, m.Begin(segment.MergedPart{Topic: id(1), TopicName: "t", To: 1 << 40}))
	b := someBatch(0, 0, 1, 60<<20)
	must(t, m.Append(b, nil))
	batch.Patch(b, 1, 0)
	must(t, m.Append(b, nil))
	batch.Patch(b, 2, 0)
	if err := m.Append(b, nil); !errors.Is(err, segment.ErrInvalid) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// TestAppendAllocatesForBlocksOnly writes 10,000 small batches.
func TestAppendAllocatesForBlocksOnly(t *testing.T) {
	m, err := segment.NewMergedWriter(io.Discard, testMergedHeader(segment.SharedSegment(3, id(0x0b))))
	must(t, err)
	must(t, m.Begin(segment.MergedPart{Topic: id(1), TopicName: "t", To: 1 << 40}))
	b, offset := someBatch(0, 0, 1, 200), int64(0)
	n := testing.AllocsPerRun(10_000, func() {
		batch.Patch(b, offset, 0)
		offset++
		must(t, m.Append(b, nil))
	})
	if n > 0 {
		t.Errorf("%v allocations a batch", n)
	}
}
