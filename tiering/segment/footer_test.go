package segment

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/wire"
)

func TestFooterTailAsksForWhatItNeeds(t *testing.T) {
	whole := hostileObject(t)
	size := int64(len(whole))
	want, err := Decode(whole)
	if err != nil {
		t.Fatal(err)
	}
	footer := int64(want.Footer.encodedSize() + TrailerSize)
	for n := range size + 1 {
		f, need, err := DecodeFooterTail(whole[size-n:], size)
		if err != nil {
			t.Fatalf("tail of %d bytes: %v", n, err)
		}
		switch {
		case n < TrailerSize && need == TrailerSize && f == nil:
		case n >= TrailerSize && n < footer && need == footer && f == nil:
		case n >= footer && need == 0 && reflect.DeepEqual(f, want.Footer):
		default:
			t.Fatalf("tail of %d bytes: footer %v, need %d", n, f != nil, need)
		}
	}
	if _, _, err := DecodeFooterTail(whole, size-1); !errors.Is(err, ErrInvalid) {
		t.Errorf("tail longer than the object: error is %v, want ErrInvalid", err)
	}
	if _, _, err := DecodeFooterTail(nil, minObjectSize-1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("object too small for a footer: error is %v, want ErrCorrupt", err)
	}
	for _, wrong := range []int64{size + 1, size + 1000, minObjectSize, 0, -1, 1 << 62} {
		if _, _, err := DecodeFooterTail(whole[size-TrailerSize:], wrong); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrInvalid) {
			t.Errorf("size %d instead of %d: error is %v, want ErrCorrupt", wrong, size, err)
		}
	}
}

func TestFooterHasNoMorePartitionsThanMayBe(t *testing.T) {
	const size = 61 // of a batch
	f := Footer{Header: hostileHeader(), Entries: Section{Position: HeaderSize, Length: entriesFixedSize}}
	position := uint64(HeaderSize + entriesFixedSize)
	for i := range MaxPartitions + 1 {
		f.Partitions = append(f.Partitions, Partition{Topic: byteID(1), Index: int32(i), Position: position, Length: size, Records: 1, Batches: 1})
		position += size
	}
	decode := func() error {
		w := wire.Writer{B: make([]byte, position)}
		appendFooter(&w, &f)
		_, _, err := DecodeFooterTail(w.B[position:], int64(len(w.B)))
		return err
	}
	if err := decode(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d partitions: error is %v, want ErrCorrupt", len(f.Partitions), err)
	}
	f.Partitions = f.Partitions[:MaxPartitions]
	position -= size
	if err := decode(); err != nil {
		t.Errorf("%d partitions: %v", len(f.Partitions), err)
	}
}

func TestEntriesAreCheckedBeforeTheyAreAllocated(t *testing.T) {
	tests := map[string][]byte{
		"nothing":                  {},
		"count beyond the input":   {0, 0, 0xff, 0xff},
		"count beyond the limit":   append([]byte{0, 1, 0, 1}, bytes.Repeat([]byte{0, 1, 0, 0, 0, 0, 0, 0}, MaxEntries+1)...),
		"kind 0":                   {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"reserved bytes set":       {0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0},
		"payload beyond the input": {0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1},
		"bytes left over":          {0, 0, 0, 0, 0},
	}
	for name, b := range tests {
		if _, err := DecodeEntries(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error is %v, want ErrCorrupt", name, err)
		}
	}
}

func TestRangesAreCheckedAgainstTheFooter(t *testing.T) {
	whole := hostileObject(t)
	o, err := Decode(whole)
	if err != nil {
		t.Fatal(err)
	}
	section := whole[o.Footer.Entries.Position:][:o.Footer.Entries.Length]
	p := &o.Footer.Partitions[0]
	for name, c := range map[string]struct {
		bytes  []byte
		check  func([]byte) error
		offset uint64
	}{
		"entries": {section, o.Footer.Entries.Check, o.Footer.Entries.Position},
		"records": {o.Batches(p), p.Check, p.Position},
	} {
		if err := c.check(c.bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		damaged := bytes.Clone(c.bytes)
		damaged[len(damaged)-1] ^= 1
		for _, b := range [][]byte{damaged, c.bytes[1:], append(damaged, 0), nil} {
			var corrupt *CorruptError
			if err := c.check(b); !errors.As(err, &corrupt) || corrupt.Offset != int64(c.offset) || !strings.Contains(err.Error(), corrupt.Reason) {
				t.Errorf("%s of %d bytes instead of %d: error is %v, want ErrCorrupt at %d", name, len(b), len(c.bytes), err, c.offset)
			}
		}
	}
}
