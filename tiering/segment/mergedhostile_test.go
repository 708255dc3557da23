package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/varvelog/varve/tiering/wire"
)

// mergedPieces are the parts of a small merged segment that have decoders of their own.
func mergedPieces(t testing.TB) (header, section, tail []byte, size int64) {
	t.Helper()
	b := hostileMerged(t)
	d, need, err := DecodeMergedTail(b[len(b)-MergedTrailerSize:], int64(len(b)))
	if err == nil {
		d, _, err = DecodeMergedTail(b[int64(len(b))-need:], int64(len(b)))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := d.Sections[0]
	return b[:MergedHeaderSize], b[s.Position:][:s.Length], b[int64(len(b))-need:], int64(len(b))
}

// resealed returns a copy whose last four bytes are the CRC of those before.
func resealed(b []byte) []byte {
	b = bytes.Clone(b)
	if end := len(b) - 4; end >= 0 {
		binary.BigEndian.PutUint32(b[end:], checksum(b[:end]))
	}
	return b
}

// resealedTail makes the CRCs of a tail right again. With grow, the trailer also takes the
// whole rest for the directory.
func resealedTail(b []byte, size int64, grow bool) []byte {
	b = bytes.Clone(b)
	n := len(b) - MergedTrailerSize
	if n < 0 {
		return b
	}
	trailer := b[n:]
	if grow {
		binary.BigEndian.PutUint64(trailer, uint64(size-int64(len(b))))
		binary.BigEndian.PutUint64(trailer[8:], uint64(n))
		binary.BigEndian.PutUint64(trailer[16:], uint64(size))
	}
	binary.BigEndian.PutUint32(trailer[24:], checksum(b[:n]))
	binary.BigEndian.PutUint32(trailer[28:], checksum(trailer[:28]))
	return b
}

func TestEveryDamagedByteOfAMergedSegmentIsFound(t *testing.T) {
	header, section, tail, size := mergedPieces(t)
	name, err := EncodeTopicName(TopicName{Cluster: byteID(1), Topic: byteID(2), Name: "events"})
	if err != nil {
		t.Fatal(err)
	}
	for what, d := range map[string]struct {
		bytes   []byte
		version int // where the version stands
		decode  func([]byte) error
	}{
		"header":     {header, 4, func(b []byte) error { _, err := DecodeMergedHeader(b); return err }},
		"section":    {section, 4, func(b []byte) error { _, err := DecodeMergedPartition(b); return err }},
		"tail":       {tail, len(tail) - 8, func(b []byte) error { _, _, err := DecodeMergedTail(b, size); return err }},
		"topic name": {name, 4, func(b []byte) error { _, err := DecodeTopicName(b); return err }},
	} {
		if err := d.decode(d.bytes); err != nil {
			t.Fatalf("intact %s: %v", what, err)
		}
		for i := range d.bytes {
			for bit := range 8 {
				b := bytes.Clone(d.bytes)
				b[i] ^= 1 << bit
				err := d.decode(b)
				version := i == d.version || i == d.version+1
				if errors.Is(err, ErrCorrupt) == version || errors.Is(err, ErrUnsupported) != version {
					t.Fatalf("%s: byte %d, bit %d: error is %v", what, i, bit, err)
				}
			}
			if err := d.decode(d.bytes[:i]); what != "tail" && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s cut to %d bytes: error is %v", what, i, err)
			}
		}
		if err := d.decode(append(bytes.Clone(d.bytes), 0)); what != "header" && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s with a byte more: error is %v", what, err)
		}
	}
}

// TestMergedDecodersBelieveNoFieldBecauseItsCRCIsRight changes each byte and corrects the
// CRC. Bytes that decode then must encode to the very same.
func TestMergedDecodersBelieveNoFieldBecauseItsCRCIsRight(t *testing.T) {
	header, section, tail, size := mergedPieces(t)
	for _, bits := range []byte{0x01, 0x80, 0xff} {
		for i := range header {
			b := bytes.Clone(header)
			b[i] ^= bits
			checkMergedHeader(t, resealed(b))
		}
		for i := range section {
			b := bytes.Clone(section)
			b[i] ^= bits
			checkSection(t, resealed(b))
		}
		for i := range tail {
			b := bytes.Clone(tail)
			b[i] ^= bits
			checkTail(t, resealedTail(b, size, false), size)
		}
	}
}

func checkMergedHeader(t *testing.T, b []byte) {
	if h, err := DecodeMergedHeader(b); err == nil {
		if again := written(func(w *wire.Writer) { appendMergedHeader(w, &h) }); !bytes.Equal(again, b[:MergedHeaderSize]) {
			t.Fatalf("header encodes to %x, was %x", again, b[:MergedHeaderSize])
		}
	}
}

func checkSection(t *testing.T, b []byte) {
	if p, err := DecodeMergedPartition(b); err == nil {
		if again := written(func(w *wire.Writer) { appendSection(w, p) }); !bytes.Equal(again, b) || int(p.IndexLength) != len(b) {
			t.Fatalf("section encodes to %x, was %x", again, b)
		}
	}
}

func checkTail(t *testing.T, tail []byte, size int64) {
	d, need, err := DecodeMergedTail(tail, size)
	if err != nil && (d != nil || need != 0) || err == nil && (d == nil) != (need > 0) {
		t.Fatalf("directory %v, need %d, error %v", d, need, err)
	}
	if err == nil && need > 0 && (need <= int64(len(tail)) || need > size) {
		t.Fatalf("needs %d bytes, has %d of %d", need, len(tail), size)
	}
	if d == nil {
		return
	}
	n := int64(mergedTailSize(len(d.Sections)))
	if again := written(func(w *wire.Writer) { appendMergedTail(w, d, size-n) }); !bytes.Equal(again, tail[int64(len(tail))-n:]) {
		t.Fatalf("directory encodes to %x, was %x", again, tail[int64(len(tail))-n:])
	}
}

// TestImplausibleSectionsAreCorrupt changes one field of a section that is right otherwise.
func TestImplausibleSectionsAreCorrupt(t *testing.T) {
	_, section, _, _ := mergedPieces(t)
	for name, spoil := range map[string]func(*MergedPartition){
		"no object":                    func(p *MergedPartition) { p.Object = ID{} },
		"batches in the header":        func(p *MergedPartition) { p.Position-- },
		"batches beyond any object":    func(p *MergedPartition) { p.Position = MaxMergedSize },
		"starts before the range":      func(p *MergedPartition) { p.From = p.First + 1 },
		"ends after the range":         func(p *MergedPartition) { p.To = p.Last },
		"no batches":                   func(p *MergedPartition) { p.Batches = 0 },
		"more batches than bytes":      func(p *MergedPartition) { p.Batches = p.Length },
		"more records than offsets":    func(p *MergedPartition) { p.Records = uint64(p.Last-p.First) + 2 },
		"no blocks":                    func(p *MergedPartition) { p.Blocks = nil },
		"first block missing":          func(p *MergedPartition) { p.Blocks = p.Blocks[1:] },
		"last block missing":           func(p *MergedPartition) { p.Blocks = p.Blocks[:len(p.Blocks)-1] },
		"block elsewhere":              func(p *MergedPartition) { p.Blocks[1].Position++ },
		"block too short":              func(p *MergedPartition) { p.Blocks[0].Length = 60 },
		"block goes back":              func(p *MergedPartition) { p.Blocks[1].First = p.Blocks[0].Last },
		"block backwards":              func(p *MergedPartition) { p.Blocks[0].Last = p.Blocks[0].First - 1 },
		"block without a time":         func(p *MergedPartition) { p.Blocks[0].MaxTimestamp = -2 },
		"time of no block":             func(p *MergedPartition) { p.MaxTimestamp++ },
		"no leader epoch":              func(p *MergedPartition) { p.Epochs = nil },
		"leader epoch starts late":     func(p *MergedPartition) { p.Epochs[0].Start++ },
		"leader epoch goes down":       func(p *MergedPartition) { p.Epochs[1].Epoch = p.Epochs[0].Epoch },
		"leader epoch starts too soon": func(p *MergedPartition) { p.Epochs[1].Start = p.Epochs[0].Start },
		"leader epoch after the end":   func(p *MergedPartition) { p.Epochs[1].Start = p.Last + 1 },
		"huge offsets":                 func(p *MergedPartition) { p.To = math.MinInt64 },
	} {
		p, err := DecodeMergedPartition(section)
		if err != nil {
			t.Fatal(err)
		}
		spoil(p)
		b := written(func(w *wire.Writer) { appendSection(w, p) })
		if got, err := DecodeMergedPartition(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v and error %v, want ErrCorrupt", name, got, err)
		}
	}
}

func TestImplausibleDirectoriesAreCorrupt(t *testing.T) {
	_, _, tail, size := mergedPieces(t)
	for name, spoil := range map[string]func(*MergedDirectory){
		"no object":                func(d *MergedDirectory) { d.Object = ID{} },
		"out of order":             func(d *MergedDirectory) { d.Sections[1].Index = d.Sections[0].Index },
		"no topic":                 func(d *MergedDirectory) { d.Sections[0].Topic = ID{} },
		"negative index":           func(d *MergedDirectory) { d.Sections[0].Index = -1 },
		"short section":            func(d *MergedDirectory) { d.Sections[0].Length = minSectionSize - 1 },
		"no room for a batch":      func(d *MergedDirectory) { d.Sections[0].Position = MergedHeaderSize + 60 },
		"sections overlap":         func(d *MergedDirectory) { d.Sections[0].Length = math.MaxUint32 },
		"a gap before the end":     func(d *MergedDirectory) { d.Sections[1].Length-- },
		"a partition is left out":  func(d *MergedDirectory) { d.Sections = d.Sections[:1] },
		"no partitions":            func(d *MergedDirectory) { d.Sections = nil },
		"section beyond any place": func(d *MergedDirectory) { d.Sections[1].Position = math.MaxUint32 },
	} {
		d, _, err := DecodeMergedTail(tail, size)
		if err != nil {
			t.Fatal(err)
		}
		before := mergedTailSize(len(d.Sections))
		spoil(d)
		at := size - int64(before)
		b := written(func(w *wire.Writer) { appendMergedTail(w, d, at) })
		if got, _, err := DecodeMergedTail(b, at+int64(len(b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %+v and error %v, want ErrCorrupt", name, got, err)
		}
	}
	for _, n := range []int64{minMergedSize - 1, MaxMergedSize + 1} {
		if _, _, err := DecodeMergedTail(nil, n); !errors.Is(err, ErrCorrupt) {
			t.Errorf("object of %d bytes: %v", n, err)
		}
	}
	if _, _, err := DecodeMergedTail(make([]byte, minMergedSize+1), minMergedSize); !errors.Is(err, ErrInvalid) {
		t.Errorf("tail longer than the object: %v", err)
	}
}

func FuzzDecodeMergedHeader(f *testing.F) {
	seeds(f)
	header, _, _, _ := mergedPieces(f)
	f.Add(header)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= MergedHeaderSize {
			b = resealed(b[:MergedHeaderSize])
		}
		bounded(t, b, func() { DecodeMergedHeader(b) })
		checkMergedHeader(t, b)
	})
}

func FuzzDecodeMergedPartition(f *testing.F) {
	_, section, _, _ := mergedPieces(f)
	f.Add(section)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealed(b)
		bounded(t, b, func() { DecodeMergedPartition(b) })
		checkSection(t, b)
	})
}

func FuzzDecodeMergedTail(f *testing.F) {
	_, _, tail, size := mergedPieces(f)
	for _, n := range []int{0, MergedTrailerSize, len(tail)} {
		f.Add(tail[len(tail)-n:], size)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		for _, grow := range []bool{false, true} {
			tail := resealedTail(b, size, grow)
			bounded(t, tail, func() { DecodeMergedTail(tail, size) })
			checkTail(t, tail, size)
		}
	})
}

func FuzzDecodeTopicName(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealSmall(b)
		bounded(t, b, func() { DecodeTopicName(b) })
		if n, err := DecodeTopicName(b); err == nil {
			if again, err := EncodeTopicName(n); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("topic name encodes to %x and %v, was %x", again, err, b)
			}
		}
	})
}
