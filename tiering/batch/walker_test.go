package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

// at is a batch of n records at an offset, of leader epoch 7.
func at(offset int64, n int) []byte {
	return batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, make([]string, n)...), BaseOffset: offset, LeaderEpoch: 7})
}

// placed is the place of batches that hold offsets 10 to 19, behind 100 other bytes.
func placed(b []byte, gaps bool) batch.Place {
	return batch.Place{Position: 100, Length: int64(len(b)), Base: 10, Last: 19, Epoch: 7, Gaps: gaps}
}

// checkAll walks all of b, and returns the base offsets of the batches that fit.
func checkAll(b []byte, p batch.Place) (offsets []int64, err error) {
	w := batch.NewWalker(p)
	for w.Left() > 0 {
		h, err := w.Check(b[w.Position()-p.Position:])
		if err != nil {
			return offsets, err
		}
		offsets = append(offsets, h.BaseOffset)
		w.Skip(&h)
	}
	return offsets, w.End()
}

func TestWalkerReportsEachFault(t *testing.T) {
	size := len(at(0, 5))
	damaged := at(15, 5)
	damaged[len(damaged)-1] ^= 1
	negative := at(15, 5)
	batchtest.FixCRC(put32(negative, 23, -1))
	endless := at(15, 5)
	batchtest.FixCRC(put32(endless, 23, math.MaxInt32))
	for _, c := range []struct {
		name          string
		batches       [][]byte
		faults        batch.Faults
		gaps          batch.Faults // with gaps allowed
		position      int          // of the fault, after the first 100 bytes
		says, gapSays string
	}{
		{"nothing", [][]byte{at(10, 5), at(15, 5)}, 0, 0, 0, "", ""},
		{"a gap before the first", [][]byte{at(11, 9)}, batch.FaultGap, 0, 0, "offsets 11 to 19, must start at 10", ""},
		{"a gap between", [][]byte{at(10, 5), at(16, 4)}, batch.FaultGap, 0, size, "offsets 16 to 19, must start at 15", ""},
		{"a gap at the end", [][]byte{at(10, 5), at(15, 4)}, batch.FaultEnd, 0, size + len(at(0, 4)), "end with offset 18, not 19", ""},
		{"the same offsets twice", [][]byte{at(10, 5), at(10, 10)}, batch.FaultRepeat, batch.FaultRepeat, size, "offsets 10 to 19, must start at 15", "offsets 10 to 19, must start at 15 or later"},
		{"an overlap", [][]byte{at(10, 5), at(14, 6)}, batch.FaultRepeat, batch.FaultRepeat, size, "must start at 15", "must start at 15 or later"},
		{"an offset before the first", [][]byte{at(9, 11)}, batch.FaultRepeat, batch.FaultRepeat, 0, "must start at 10", "must start at 10 or later"},
		{"an end after the last", [][]byte{at(10, 5), at(15, 6)}, batch.FaultBeyond, batch.FaultBeyond, size, "offsets 15 to 20, must end at 19 at the latest", "must end at 19 at the latest"},
		{"a start after the last", [][]byte{at(10, 10), at(20, 1)}, batch.FaultBeyond, batch.FaultBeyond, len(at(0, 10)), "offsets 20 to 20", "offsets 20 to 20"},
		{"an end before the start", [][]byte{at(10, 5), negative}, batch.FaultBeyond, batch.FaultBeyond, size, "offsets 15 to 14", "offsets 15 to 14"},
		{"an end far away", [][]byte{at(10, 5), endless}, batch.FaultBeyond, batch.FaultBeyond, size, "must end at 19 at the latest", "must end at 19 at the latest"},
		{"another epoch", [][]byte{at(10, 5), put32(at(15, 5), 12, 8)}, batch.FaultEpoch, batch.FaultEpoch, size, "leader epoch 8, not 7", "leader epoch 8, not 7"},
		{"another CRC", [][]byte{at(10, 5), damaged}, batch.FaultCRC, batch.FaultCRC, size, "batch with offset 15 fails its CRC", "batch with offset 15 fails its CRC"},
	} {
		b := bytes.Join(c.batches, nil)
		for gaps, want := range map[bool]batch.Faults{false: c.faults, true: c.gaps} {
			says := c.says
			if gaps {
				says = c.gapSays
			}
			offsets, err := checkAll(b, placed(b, gaps))
			if want == 0 {
				if err != nil || len(offsets) != len(c.batches) {
					t.Errorf("%s, gaps %t: batches at %v, error %v", c.name, gaps, offsets, err)
				}
				continue
			}
			var bad *batch.PlaceError
			if !errors.As(err, &bad) || bad.Faults != want || bad.Position != int64(100+c.position) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s, gaps %t: error %v, want faults %b at %d that say %q", c.name, gaps, err, want, 100+c.position, says)
			}
		}
	}
}

func TestWalkerEndsWhereABatchHasNoEnd(t *testing.T) {
	whole := slices.Concat(at(10, 5), at(15, 5))
	size := len(at(10, 5))
	for name, c := range map[string]struct {
		b    []byte
		want error
		says string
	}{
		"cut in the header":  {whole[:size+batch.HeaderSize-1], batch.ErrShort, "cut short"},
		"cut before magic":   {whole[:size+1], batch.ErrShort, "cut short"},
		"cut in the records": {whole[:len(whole)-1], batch.ErrShort, "reaches beyond the end of the records at byte"},
		"another magic":      {append(slices.Clone(whole[:size]), put8(at(15, 5), 16, 3)...), batch.ErrMagic, "magic"},
		"an old magic":       {append(slices.Clone(whole[:size]), put8(at(15, 5), 16, 1)...), batch.ErrOldMagic, "formats 0 and 1"},
		"a negative length":  {append(slices.Clone(whole[:size]), put32(at(15, 5), 8, -1)...), batch.ErrCorruptBatch, "length out of range"},
	} {
		offsets, err := checkAll(c.b, placed(c.b, false))
		var bad *batch.PlaceError
		if !errors.Is(err, c.want) || !errors.As(err, &bad) || bad.Position != int64(100+size) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one at %d that says %q", name, err, 100+size, c.says)
		}
		if !slices.Equal(offsets, []int64{10}) {
			t.Errorf("%s: batches at %v, want 10", name, offsets)
		}
	}
}

// TestWalkerNeedsOnlyHeaders walks with the bytes of one header at a time, from a
// batch in the middle on.
func TestWalkerNeedsOnlyHeaders(t *testing.T) {
	b := slices.Concat(at(10, 5), at(15, 3), at(18, 2))
	w := batch.NewWalker(placed(b, false))
	w.MoveTo(100+int64(len(at(10, 5))), 15)
	for _, want := range []int64{15, 18} {
		from := w.Position() - 100
		h, err := w.Next(b[from : from+batch.HeaderSize])
		if err != nil || h.BaseOffset != want || w.Offset() != want {
			t.Fatalf("batch at offset %d, error %v, want %d", h.BaseOffset, err, want)
		}
		if _, err := w.Check(b[from : from+batch.HeaderSize]); !errors.Is(err, batch.ErrShort) {
			t.Errorf("a CRC was checked of which the bytes are not there: %v", err)
		}
		w.Skip(&h)
	}
	if err := w.End(); err != nil || w.Left() != 0 {
		t.Errorf("%d bytes left, error %v", w.Left(), err)
	}
}

// TestWalkerKeepsToTheEnd gives it more bytes than the place has, and a place that
// ends inside a batch, of which it sees the header.
func TestWalkerKeepsToTheEnd(t *testing.T) {
	b := slices.Concat(at(10, 5), at(15, 5))
	size := int64(len(at(10, 5)))
	for length, says := range map[int64]string{
		2*size - 1:                  "reaches beyond the end",
		size + batch.HeaderSize - 1: "cut short",
	} {
		p := placed(b, false)
		p.Length = length
		w := batch.NewWalker(p)
		w.MoveTo(p.Position+size, 15)
		if h, err := w.Next(b[size : size+batch.HeaderSize]); !errors.Is(err, batch.ErrShort) || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bytes: batch %+v, error %v, want one that says %q", length, h, err, says)
		}
		if h, err := w.Parse(b[size:]); !errors.Is(err, batch.ErrShort) {
			t.Errorf("%d bytes, and more behind: batch %+v, error %v, want ErrShort", length, h, err)
		}
	}
}

// TestWalkerGoesOnAfterAFault skips batches that do not fit, as verify does.
func TestWalkerGoesOnAfterAFault(t *testing.T) {
	b := slices.Concat(at(10, 5), at(11, 2), at(17, 3))
	w := batch.NewWalker(placed(b, false))
	for i, want := range []struct {
		faults batch.Faults
		offset int64
	}{{0, 10}, {batch.FaultRepeat, 15}, {batch.FaultGap, 15}} {
		h, err := w.Parse(b[w.Position()-100:])
		if got := w.Faults(&h); err != nil || got != want.faults || w.Offset() != want.offset {
			t.Errorf("batch %d: faults %b, error %v, where offset %d is expected; want %b and %d", i, got, err, w.Offset(), want.faults, want.offset)
		}
		w.Skip(&h)
	}
	if err := w.End(); err != nil {
		t.Errorf("the end is right: %v", err)
	}
}

// TestWalkerFollowsEpochs has batches of several leader epochs, with and without a list of
// them.
func TestWalkerFollowsEpochs(t *testing.T) {
	list := func(starts ...batch.EpochStart) []batch.EpochStart { return starts }
	for name, c := range map[string]struct {
		epochs  [2]int32 // of the batches with offsets 10 and 15
		list    []batch.EpochStart
		says    string
		atFirst bool
	}{
		"rising":                  {epochs: [2]int32{1, 2}},
		"equal":                   {epochs: [2]int32{2, 2}},
		"negative":                {epochs: [2]int32{-1, -1}},
		"going back":              {epochs: [2]int32{2, 1}, says: "leader epoch 1, after 2"},
		"as listed":               {epochs: [2]int32{1, 2}, list: list(batch.EpochStart{Epoch: 1, Start: 3}, batch.EpochStart{Epoch: 2, Start: 15})},
		"before the first":        {epochs: [2]int32{1, 2}, list: list(batch.EpochStart{Epoch: 1, Start: 11}), says: "before the first leader epoch", atFirst: true},
		"listed too early":        {epochs: [2]int32{1, 1}, list: list(batch.EpochStart{Epoch: 1, Start: 3}, batch.EpochStart{Epoch: 2, Start: 15}), says: "offset 15 has leader epoch 1, not 2"},
		"listed too late":         {epochs: [2]int32{1, 2}, list: list(batch.EpochStart{Epoch: 1, Start: 3}, batch.EpochStart{Epoch: 2, Start: 16}), says: "offset 15 has leader epoch 2, not 1"},
		"epochs in an empty list": {epochs: [2]int32{1, 2}, list: []batch.EpochStart{}, says: "before the first leader epoch", atFirst: true},
	} {
		b := slices.Concat(put32(at(10, 5), 12, c.epochs[0]), put32(at(15, 5), 12, c.epochs[1]))
		p := placed(b, true)
		p.Epoch, p.Epochs = batch.AnyEpoch, c.list
		want := []int64{10, 15}
		if c.atFirst {
			want = nil
		} else if c.says != "" {
			want = want[:1]
		}
		offsets, err := checkAll(b, p)
		var bad *batch.PlaceError
		fault := errors.As(err, &bad) && bad.Faults == batch.FaultEpoch
		if fault != (c.says != "") || fault && !strings.Contains(err.Error(), c.says) || !slices.Equal(offsets, want) {
			t.Errorf("%s: batches at %v, error %v, want %v and %q", name, offsets, err, want, c.says)
		}
	}
}

func put8(b []byte, at int, v byte) []byte { b[at] = v; return b }

// FuzzWalker compares a Walker with a plain list of the checks: which batches it
// takes, and whether it takes them all.
func FuzzWalker(f *testing.F) {
	for _, batches := range [][][]byte{
		{at(10, 5), at(15, 5)}, {at(11, 2), at(15, 5)}, {at(10, 12)}, {at(10, 5), at(10, 5)}, {}, {make([]byte, 100)},
	} {
		for _, gaps := range []bool{false, true} {
			f.Add(bytes.Join(batches, nil), gaps, int64(10), int64(19))
		}
	}
	f.Add(put64(at(10, 5), 0, math.MaxInt64), true, int64(0), int64(math.MaxInt64-1))
	f.Fuzz(func(t *testing.T, b []byte, gaps bool, base, last int64) {
		if base < 0 || last < base || last == math.MaxInt64 {
			return
		}
		p := batch.Place{Position: 100, Length: int64(len(b)), Base: base, Last: last, Epoch: 7, Gaps: gaps}
		want, whole := fitting(b, p)
		got, err := checkAll(b, p)
		if !slices.Equal(got, want) || (err == nil) != whole {
			t.Fatalf("the walker takes %v and ends with %v, want %v and %t", got, err, want, whole)
		}
	})
}

// fitting returns the base offsets of the batches that fit, up to the first that does
// not, and whether that is all of them.
func fitting(b []byte, p batch.Place) (offsets []int64, whole bool) {
	next := p.Base
	for len(b) > 0 {
		if len(b) < batch.HeaderSize {
			return offsets, false
		}
		offset, length := int64(binary.BigEndian.Uint64(b)), int64(int32(binary.BigEndian.Uint32(b[8:])))
		if b[16] != 2 || length < batch.HeaderSize-12 || length+12 > int64(len(b)) {
			return offsets, false
		}
		h, err := batch.Parse(b)
		if err != nil || !batch.CheckCRC(b, h) || h.LeaderEpoch != p.Epoch || h.LastOffsetDelta < 0 {
			return offsets, false
		}
		if offset < next || offset > p.Last || offset != next && !p.Gaps {
			return offsets, false
		}
		if offset+int64(h.LastOffsetDelta) > p.Last || offset+int64(h.LastOffsetDelta) < offset {
			return offsets, false
		}
		offsets = append(offsets, offset)
		next = offset + int64(h.LastOffsetDelta) + 1
		b = b[12+length:]
	}
	return offsets, p.Gaps || next == p.Last+1
}
