package readback_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/segment/readback"
)

func id(b byte) (id segment.ID) {
	for i := range id {
		id[i] = b
	}
	return id
}

type part struct {
	segment.MergedPart
	batches [][]byte
	newest  int64 // the time that the writer is given, if it is not 0
}

// fewParts are two partitions with two leader epochs, and records of offsets 10 to 14.
func fewParts() []part {
	r := fewRecords()
	return []part{{
		MergedPart: segment.MergedPart{Topic: id(5), Index: 3, TopicName: "events", From: 10, To: 20, SourceMs: 77},
		batches:    [][]byte{spec{epoch: 1}.build(r[:2]...), spec{epoch: 2, codec: batch.Zstd}.build(r[2:]...)},
	}, {
		MergedPart: segment.MergedPart{Topic: id(6), Index: 0, TopicName: "logs", From: 10, To: 15, SourceMs: 78,
			AbortedTxns: []segment.AbortedTxn{{ProducerID: 1, FirstOffset: 10, LastOffset: 11}}},
		batches: [][]byte{spec{}.build(r...)},
	}}
}

func write(t testing.TB, parts []part, name segment.Name) ([]byte, segment.Merged) {
	t.Helper()
	var b bytes.Buffer
	m, err := segment.NewMergedWriter(&b, segment.MergedHeader{
		Name: name, Journal: 3, Cluster: id(1), Job: id(2), Node: id(3), Incarnation: id(4), BuiltMs: 99,
	})
	for _, p := range parts {
		if err == nil {
			err = m.Begin(p.MergedPart)
		}
		var times *batch.Header
		if p.newest != 0 {
			times = &batch.Header{MaxTimestamp: p.newest}
		}
		for _, one := range p.batches {
			if err == nil {
				err = m.Append(one, times)
			}
		}
		if err == nil {
			_, err = m.End()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	whole, err := m.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), whole
}

// byRecords and byBytes say what counts of each batch.
func byRecords(int, int64) bool { return false }
func byBytes(int, int64) bool   { return true }

func TestObjectsReadBackAsTheyWereWritten(t *testing.T) {
	parts, r := fewParts(), readback.New()
	for name, parts := range map[segment.Name][]part{
		segment.SharedSegment(3, id(9)):         parts,
		segment.OwnSegment(id(5), 3, 10, id(9)): parts[:1],
	} {
		b, m := write(t, parts, name)
		o, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), byRecords)
		if err != nil {
			t.Fatal(err)
		}
		if o.SHA256 != sha256.Sum256(b) || o.CRC != crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) || o.ID != id(9) || o.Cluster != id(1) || o.Job != id(2) || o.Node != id(3) || o.Incarnation != id(4) ||
			o.Journal != 3 || o.BuiltMs != 99 || o.Topic != name.Topic || o.Index != name.Partition || o.Base != name.Base || len(o.Partitions) != len(parts) {
			t.Fatalf("object is %+v", o)
		}
		for i, p := range o.Partitions {
			w := m.Partitions[i]
			want := readback.Partition{
				Topic: w.Topic, Index: w.Index, Name: w.TopicName, From: w.From, To: w.To, Position: w.Position, Length: w.Length,
				IndexLength: w.IndexLength, CRC: w.CRC, First: w.First, Last: w.Last, Records: w.Records, Batches: w.Batches,
				MaxTimestamp: w.MaxTimestamp, SourceMs: w.SourceMs, Sum: sumOf(t, r, parts[i].batches...),
			}
			if p != want {
				t.Errorf("partition is\n%+v, want\n%+v", p, want)
			}
		}
	}
}

// TestBatchesCountAsTheirBytesWhereTheyWereCopied asks for the bytes of one batch of one
// partition, and for the records of the others.
func TestBatchesCountAsTheirBytesWhereTheyWereCopied(t *testing.T) {
	r, parts := readback.New(), fewParts()
	b, _ := write(t, parts, segment.SharedSegment(3, id(9)))
	o, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), func(partition int, base int64) bool { return partition == 0 && base == 12 })
	if err != nil {
		t.Fatal(err)
	}
	want := sumOf(t, r, parts[0].batches[0])
	want.Add(bytesOf(t, r, parts[0].batches[1]))
	if o.Partitions[0].Sum != want || o.Partitions[1].Sum != sumOf(t, r, parts[1].batches...) {
		t.Errorf("sums are %+v and %+v, want %+v", o.Partitions[0].Sum, o.Partitions[1].Sum, want)
	}
}

// TestEveryDamagedByteIsFound flips each byte of an object.
func TestEveryDamagedByteIsFound(t *testing.T) {
	b, _ := write(t, fewParts(), segment.SharedSegment(3, id(9)))
	r := readback.New()
	for i := range b {
		for bits, mode := range map[byte]func(int, int64) bool{0x01: byRecords, 0x80: byBytes} {
			damaged := bytes.Clone(b)
			damaged[i] ^= bits
			if o, err := r.Object(t.Context(), bytes.NewReader(damaged), int64(len(b)), mode); !errors.Is(err, readback.ErrWrong) {
				t.Fatalf("byte %d changed by %#x: %+v and error %v", i, bits, o, err)
			}
		}
	}
	for n := range b {
		if o, err := r.Object(t.Context(), bytes.NewReader(b), int64(n), byRecords); !errors.Is(err, readback.ErrWrong) {
			t.Fatalf("cut to %d bytes: %+v and error %v", n, o, err)
		}
		if o, err := r.Object(t.Context(), bytes.NewReader(b[:n]), int64(len(b)), byRecords); !errors.Is(err, readback.ErrWrong) {
			t.Fatalf("%d bytes of %d: %+v and error %v", n, len(b), o, err)
		}
	}
	if o, err := r.Object(t.Context(), bytes.NewReader(append(b, 0)), int64(len(b))+1, byRecords); !errors.Is(err, readback.ErrWrong) {
		t.Errorf("with a byte more: %+v and error %v", o, err)
	}
}

// resealed changes a byte of a section, and makes its CRC right again.
func resealed(b []byte, p *segment.MergedPartition, at int, bits byte) []byte {
	b = bytes.Clone(b)
	section := b[p.Position+p.Length:][:p.IndexLength]
	section[at] ^= bits
	end := len(section) - 4
	binary.BigEndian.PutUint32(section[end:], crc32.Checksum(section[:end], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// TestALyingSectionIsFound changes each byte of a section whose CRC is right. The lie is
// found, or it is in a field that the caller compares.
func TestALyingSectionIsFound(t *testing.T) {
	b, m := write(t, fewParts(), segment.SharedSegment(3, id(9)))
	r := readback.New()
	good, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), byRecords)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		for at := range int(p.IndexLength) - 4 {
			for _, bits := range []byte{0x01, 0x02, 0x80} {
				o, err := r.Object(t.Context(), bytes.NewReader(resealed(b, p, at, bits)), int64(len(b)), byRecords)
				aborted := at >= int(p.IndexLength)-4-24*len(p.AbortedTxns)
				if err == nil && o.Partitions[i] == good.Partitions[i] && !aborted || err != nil && !errors.Is(err, readback.ErrWrong) {
					t.Fatalf("partition %d, byte %d changed by %#x: error %v", i, at, bits, err)
				}
			}
		}
	}
}

// TestABugOfTheMergerShows writes the objects of wrong mergers, with all CRCs right.
func TestABugOfTheMergerShows(t *testing.T) {
	r := readback.New()
	sources := fewParts()[1]
	want, wantBytes := sumOf(t, r, sources.batches...), bytesOf(t, r, sources.batches...)
	records := fewRecords()
	for name, bug := range map[string]func(p *part){
		"drops a record":       func(p *part) { p.batches = [][]byte{spec{}.build(records[0], records[1], records[3], records[4])} },
		"drops the last batch": func(p *part) { p.batches = [][]byte{spec{}.build(records[:4]...)} },
		"doubles a record": func(p *part) {
			again := records[4]
			again.offset++
			p.To++
			p.batches = append(p.batches, spec{}.build(again))
		},
		"swaps two records": func(p *part) {
			r := fewRecords()
			r[1].value, r[2].value = r[2].value, r[1].value
			p.batches = [][]byte{spec{}.build(r...)}
		},
		"moves the offsets": func(p *part) { p.To++; batch.Patch(p.batches[0], 11, 0) },
		"alters a record":   func(p *part) { b := p.batches[0]; b[len(b)-3] ^= 1; batchtest.FixCRC(b) },
		"covers more":       func(p *part) { p.To++ },
		"covers from below": func(p *part) { p.From-- },
		"takes another":     func(p *part) { p.Index++ },
	} {
		p := fewParts()[1]
		bug(&p)
		b, _ := write(t, []part{p}, segment.SharedSegment(3, id(9)))
		for _, mode := range []struct {
			of   func(int, int64) bool
			want readback.Sum
		}{{byRecords, want}, {byBytes, wantBytes}} {
			o, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), mode.of)
			if err != nil {
				continue
			}
			got := o.Partitions[0]
			if got.Sum == mode.want && got.From == sources.From && got.To == sources.To && got.Index == sources.Index {
				t.Errorf("a merger that %s: nothing shows", name)
			}
		}
	}
}

// TestTheTimeOfABlockIsThatOfItsRecords writes a batch of times from 1000 to 1004 with
// another max timestamp, by a writer that does not look at records. Of a copied batch, only
// a max timestamp that may be older than a record is looked at.
func TestTheTimeOfABlockIsThatOfItsRecords(t *testing.T) {
	r, p := readback.New(), fewParts()[1]
	records := fewRecords()
	for i := range records {
		records[i].timestamp = 1000 + int64(i)
	}
	for _, test := range []struct {
		header, block int64
		found, copied bool // a fault in both ways
	}{
		{1004, 1004, false, false}, {2000, 2000, false, false}, // a later time only costs a look
		{-1, -1, false, false}, {1000, -1, false, false}, // the writer knows that it does not know
		{1001, 1001, true, false},
	} {
		p.batches = [][]byte{spec{}.build(records...)}
		batch.SetMaxTimestamp(p.batches[0], test.header)
		b, m := write(t, []part{p}, segment.SharedSegment(3, id(9)))
		_, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), byRecords)
		_, asBytes := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), byBytes)
		if m.Partitions[0].MaxTimestamp != test.block || (err != nil) != test.found || (asBytes != nil) != test.copied {
			t.Errorf("a max timestamp of %d: %d in the section, errors %v and %v", test.header, m.Partitions[0].MaxTimestamp, err, asBytes)
		}
	}
	for newest, found := range map[int64]bool{1003: true, 1004: false} {
		p.batches = [][]byte{spec{}.build(records...)}
		batch.SetMaxTimestamp(p.batches[0], -1)
		p.newest = newest
		b, _ := write(t, []part{p}, segment.SharedSegment(3, id(9)))
		for _, mode := range []func(int, int64) bool{byRecords, byBytes} {
			if _, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), mode); (err != nil) != found {
				t.Errorf("a block of time %d: %v", newest, err)
			}
		}
	}
	p.newest = 0
	undecodable := spec{codec: batch.Gzip}.build(records...)
	undecodable[len(undecodable)-1] ^= 1
	p.batches = [][]byte{batchtest.FixCRC(undecodable)}
	b, _ := write(t, []part{p}, segment.SharedSegment(3, id(9)))
	if o, err := r.Object(t.Context(), bytes.NewReader(b), int64(len(b)), byRecords); err != nil || o.Partitions[0].Sum.Raw != 1 {
		t.Errorf("of a batch that cannot be decoded: %+v, error %v", o, err)
	}
	if _, newest, err := r.Batch(t.Context(), undecodable); err != nil || newest != readback.Unknown {
		t.Errorf("newest is %d, error %v", newest, err)
	}
}

// counted counts reads and bytes, and fails after some.
type counted struct {
	io.ReaderAt
	reads, bytes, limit int
}

var errDown = errors.New("store is down")

func (c *counted) ReadAt(b []byte, at int64) (int, error) {
	if c.reads++; c.limit > 0 && c.reads > c.limit {
		return 0, errDown
	}
	c.bytes += len(b)
	return c.ReaderAt.ReadAt(b, at)
}

// TestLargeObjectsAreReadOnceInLargePieces counts requests, bytes and memory.
func TestLargeObjectsAreReadOnceInLargePieces(t *testing.T) {
	parts := make([]part, 300)
	for i := range parts {
		parts[i] = part{MergedPart: segment.MergedPart{Topic: id(5), Index: int32(i), TopicName: "events", From: 0, To: 64}}
		for k := range int64(2) {
			parts[i].batches = append(parts[i].batches, spec{}.build(record{offset: k, timestamp: 5, value: make([]byte, 80_000)}))
		}
	}
	b, _ := write(t, parts, segment.SharedSegment(3, id(9)))
	r := readback.New()
	src := &counted{ReaderAt: bytes.NewReader(b)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := r.Object(t.Context(), src, int64(len(b)), byRecords); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	pieces := len(b)/(8<<20) + 1
	if src.reads > 2*pieces+2 || src.bytes > len(b)+64<<10 {
		t.Errorf("%d reads of %d bytes for an object of %d", src.reads, src.bytes, len(b))
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 12<<20 {
		t.Errorf("%d bytes were allocated for an object of %d", n, len(b))
	}
	for limit := range src.reads {
		if limit == 0 {
			continue
		}
		if _, err := r.Object(t.Context(), &counted{ReaderAt: bytes.NewReader(b), limit: limit}, int64(len(b)), byRecords); !errors.Is(err, errDown) {
			t.Errorf("after %d reads: error %v", limit, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errDown)
	if _, err := r.Object(ctx, bytes.NewReader(b), int64(len(b)), byRecords); !errors.Is(err, errDown) {
		t.Errorf("after the end of the context: error %v", err)
	}
}

func FuzzObject(f *testing.F) {
	b, m := write(f, fewParts(), segment.SharedSegment(3, id(9)))
	f.Add(b, 0, byte(0))
	f.Add(b, 72, byte(1))
	r := readback.New()
	f.Fuzz(func(t *testing.T, data []byte, at int, bits byte) {
		p := &m.Partitions[0]
		if at >= 0 && at < int(p.IndexLength)-4 && bytes.Equal(data, b) {
			data = resealed(b, p, at, bits)
		}
		if o, err := r.Object(t.Context(), bytes.NewReader(data), int64(len(data)), byRecords); err != nil && !errors.Is(err, readback.ErrWrong) {
			t.Fatalf("%+v and error %v", o, err)
		}
	})
}
