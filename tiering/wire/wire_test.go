package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/wire"
)

func TestWriterIsBigEndian(t *testing.T) {
	var w wire.Writer
	w.U8(0x01)
	w.U16(0x0203)
	w.U32(0x04050607)
	w.U64(0x08090a0b0c0d0e0f)
	w.I16(-2)
	w.I32(-3)
	w.I64(-4)
	w.Bytes32([]byte{0xbb, 0xcc})
	w.String16("s")
	w.Zeros(2)
	w.Raw([]byte{0xdd})
	w.ID([16]byte{15: 0xee})
	want := "01" + "0203" + "04050607" + "08090a0b0c0d0e0f" + "fffe" + "fffffffd" + "fffffffffffffffc" +
		"00000002bbcc" + "000173" + "0000" + "dd" + "000000000000000000000000000000ee"
	if got := fmt.Sprintf("%x", w.B); got != want || w.Err() != nil || w.Len() != len(want)/2 {
		t.Errorf("wrote %s, error %v, want %s", got, w.Err(), want)
	}
}

// field is a value together with how it is written and read back.
type field struct {
	write func(*wire.Writer)
	same  func(*wire.Reader) bool
}

func drawField(t *rapid.T) field {
	u := rapid.Uint64().Draw(t, "value")
	b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
	var id [16]byte
	copy(id[:], b)
	return rapid.SampledFrom([]field{
		{func(w *wire.Writer) { w.U8(uint8(u)) }, func(r *wire.Reader) bool { return r.U8() == uint8(u) }},
		{func(w *wire.Writer) { w.U16(uint16(u)) }, func(r *wire.Reader) bool { return r.U16() == uint16(u) }},
		{func(w *wire.Writer) { w.U32(uint32(u)) }, func(r *wire.Reader) bool { return r.U32() == uint32(u) }},
		{func(w *wire.Writer) { w.U64(u) }, func(r *wire.Reader) bool { return r.U64() == u }},
		{func(w *wire.Writer) { w.I16(int16(u)) }, func(r *wire.Reader) bool { return r.I16() == int16(u) }},
		{func(w *wire.Writer) { w.I32(int32(u)) }, func(r *wire.Reader) bool { return r.I32() == int32(u) }},
		{func(w *wire.Writer) { w.I64(int64(u)) }, func(r *wire.Reader) bool { return r.I64() == int64(u) }},
		{func(w *wire.Writer) { w.ID(id) }, func(r *wire.Reader) bool { return r.ID() == id }},
		{func(w *wire.Writer) { w.Raw(b) }, func(r *wire.Reader) bool { return bytes.Equal(r.Raw(len(b)), b) }},
		{func(w *wire.Writer) { w.Bytes32(b) }, func(r *wire.Reader) bool { return bytes.Equal(r.Bytes32(), b) }},
		{func(w *wire.Writer) { w.String16(string(b)) }, func(r *wire.Reader) bool { return r.String16() == string(b) }},
		{func(w *wire.Writer) { w.Zeros(len(b)) }, func(r *wire.Reader) bool { r.Zeros(len(b)); return r.Err() == nil }},
	}).Draw(t, "kind")
}

func TestReaderReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfN(rapid.Custom(drawField), 1, 20).Draw(t, "fields")
		var w wire.Writer
		for _, f := range fields {
			f.write(&w)
		}
		r := wire.NewReader(w.B)
		for i, f := range fields {
			if !f.same(r) {
				t.Fatalf("field %d of %d read back differently, error %v", i, len(fields), r.Err())
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if len(w.B) == 0 {
			return
		}
		cut := wire.NewReader(w.B[:rapid.IntRange(0, len(w.B)-1).Draw(t, "cut")])
		for _, f := range fields {
			f.same(cut)
		}
		if !errors.Is(cut.Err(), wire.ErrShort) {
			t.Fatalf("cut input gives %v, want ErrShort", cut.Err())
		}
	})
}

func TestReaderKeepsItsFirstErrorAndYieldsZeroAfterIt(t *testing.T) {
	r := wire.NewReader([]byte{1, 2, 3})
	r.U16()
	r.U32()
	first := r.Err()
	if !errors.Is(first, wire.ErrShort) {
		t.Fatalf("error is %v, want ErrShort", first)
	}
	if v := r.U8(); v != 0 || r.Len() != 0 || r.Pos() != 2 || r.Count(1, 1) != 0 || r.String16() != "" {
		t.Errorf("reader goes on after an error: %d, length %d, position %d", v, r.Len(), r.Pos())
	}
	if r.Close() != first {
		t.Errorf("Close gives %v, want the first error %v", r.Close(), first)
	}
}

func TestReaderRefusesLengthsAndCountsTheInputCannotHold(t *testing.T) {
	tests := []struct {
		name string
		read func(*wire.Reader)
		want error
	}{
		{"bytes of 32-bit length", func(r *wire.Reader) { r.Bytes32() }, wire.ErrShort},
		{"bytes of 16-bit length", func(r *wire.Reader) { _ = r.String16() }, wire.ErrShort},
		{"string", func(r *wire.Reader) { r.String16() }, wire.ErrShort},
		{"negative length", func(r *wire.Reader) { r.Raw(-1) }, wire.ErrShort},
		{"count", func(r *wire.Reader) { r.Count(r.U32(), 1) }, wire.ErrCount},
		{"count of large items", func(r *wire.Reader) { r.Count(1, 9) }, wire.ErrCount},
		{"product beyond 32 bits", func(r *wire.Reader) { r.Count(math.MaxUint32, math.MaxInt32) }, wire.ErrCount},
		{"reserved bytes", func(r *wire.Reader) { r.Zeros(8) }, wire.ErrNotZero},
		{"left over", func(r *wire.Reader) { r.U32(); r.Close() }, wire.ErrTrailing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := wire.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
			if test.read(r); !errors.Is(r.Err(), test.want) {
				t.Errorf("error is %v, want %v", r.Err(), test.want)
			}
		})
	}
}

func TestCountReturnsWhatFits(t *testing.T) {
	r := wire.NewReader(make([]byte, 8))
	if n := r.Count(4, 2); n != 4 || r.Err() != nil {
		t.Errorf("count is %d, error %v, want 4", n, r.Err())
	}
}

func TestReaderSlicesCannotGrowIntoTheInput(t *testing.T) {
	b := []byte{1, 2, 3, 4}
	got := wire.NewReader(b).Raw(2)
	if _ = append(got, 9); b[2] != 3 {
		t.Error("append to a returned slice changed the input")
	}
}

func TestWriterRefusesWhatItsLengthCannotExpress(t *testing.T) {
	var w wire.Writer
	w.String16(string(make([]byte, math.MaxUint16)))
	if w.Err() != nil {
		t.Fatalf("longest string: %v", w.Err())
	}
	n := w.Len()
	w.String16(string(make([]byte, math.MaxUint16+1)))
	w.String16("after the error")
	if !errors.Is(w.Err(), wire.ErrTooLong) || w.Len() != n {
		t.Errorf("error is %v after %d more bytes, want ErrTooLong after none", w.Err(), w.Len()-n)
	}
}
