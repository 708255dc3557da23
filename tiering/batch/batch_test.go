package batch_test

import (
	"errors"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
)

func TestParseReadsWhatAnotherEncoderWrote(t *testing.T) {
	theirs := kmsg.RecordBatch{
		FirstOffset: 1, PartitionLeaderEpoch: 2, Magic: 2, CRC: 3, Attributes: 0x3b, LastOffsetDelta: 4,
		FirstTimestamp: 5, MaxTimestamp: 6, ProducerID: 7, ProducerEpoch: 8, FirstSequence: 9, NumRecords: 10,
		Records: []byte{1, 2, 3}, Length: 49 + 3,
	}
	b := theirs.AppendTo(nil)
	want := batch.Header{
		BaseOffset: 1, Length: 52, LeaderEpoch: 2, Magic: 2, CRC: 3, Attributes: 0x3b, LastOffsetDelta: 4,
		BaseTimestamp: 5, MaxTimestamp: 6, ProducerID: 7, ProducerEpoch: 8, BaseSequence: 9, Records: 10,
	}
	h, err := batch.Parse(append(b, 0xff))
	if err != nil || h != want {
		t.Fatalf("header is %+v, error %v, want %+v", h, err, want)
	}
	if h.Size() != len(b) || h.LastOffset() != 5 || h.LastSequence() != 13 || h.Compression() != batch.LZ4 {
		t.Errorf("size %d, last offset %d, last sequence %d, codec %v", h.Size(), h.LastOffset(), h.LastSequence(), h.Compression())
	}
	if !h.Control() || !h.Transactional() || !h.LogAppendTime() {
		t.Error("an attribute is not seen")
	}
	if h = (batch.Header{Attributes: 0x47}); h.Control() || h.Transactional() || h.LogAppendTime() || h.Compression().Known() {
		t.Error("an attribute is seen that is not set")
	}
}

func TestParseReportsHowMuchIsMissing(t *testing.T) {
	b := idempotent()
	for n := range b {
		h, err := batch.Parse(b[:n:n])
		if !errors.Is(err, batch.ErrShort) {
			t.Fatalf("%d of %d bytes: error is %v, want ErrShort", n, len(b), err)
		}
		if want := n >= batch.HeaderSize; (h.Magic == 2 && h.Size() == len(b)) != want {
			t.Errorf("%d of %d bytes: header is %+v", n, len(b), h)
		}
	}
}

func TestLastSequenceWrapsToZero(t *testing.T) {
	tests := []struct{ base, delta, want int32 }{
		{0, 0, 0}, {10, 4, 14}, {1<<31 - 1, 0, 1<<31 - 1}, {1<<31 - 1, 1, 0}, {1<<31 - 3, 5, 2}, {-1, 3, -1},
	}
	for _, test := range tests {
		h := batch.Header{BaseSequence: test.base, LastOffsetDelta: test.delta}
		if got := h.LastSequence(); got != test.want {
			t.Errorf("%d and %d more is %d, want %d", test.base, test.delta, got, test.want)
		}
	}
}

func TestPatchLeavesTheCRCValid(t *testing.T) {
	b := idempotent()
	before, _ := batch.Parse(b)
	batch.Patch(b, 1<<40, 9)
	h, err := batch.Parse(b)
	if err != nil || !batch.CheckCRC(b, h) {
		t.Fatalf("patched batch: error %v, CRC %v", err, batch.CheckCRC(b, h))
	}
	if before.BaseOffset, before.LeaderEpoch = 1<<40, 9; h != before {
		t.Errorf("header is %+v, want %+v", h, before)
	}
}

func TestSetLogAppendTimeHoldsForEveryRecord(t *testing.T) {
	b := idempotent()
	batch.SetLogAppendTime(b, 5555)
	h, err := batch.Parse(b)
	if err != nil || !batch.CheckCRC(b, h) || !h.LogAppendTime() || h.MaxTimestamp != 5555 || h.BaseTimestamp != 1000 {
		t.Fatalf("header is %+v, error %v, CRC %v", h, err, batch.CheckCRC(b, h))
	}
	n := 0
	err = batch.Records(b, 1<<20, func(r batch.Record) bool {
		if n++; r.Timestamp != 5555 {
			t.Errorf("record at %d has time %d", r.Offset, r.Timestamp)
		}
		return true
	})
	if err != nil || n != 3 {
		t.Errorf("%d records, error %v", n, err)
	}
}

func TestWalkVisitsBatchesBackToBack(t *testing.T) {
	one := idempotent()
	two := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "x"), BaseOffset: 3})
	b := append(append([]byte{}, one...), two...)
	var at []int
	visit := func(pos int, h batch.Header) error { at = append(at, pos); return nil }
	if err := batch.Walk(b, visit); err != nil || len(at) != 2 || at[0] != 0 || at[1] != len(one) {
		t.Errorf("visited %v, error %v", at, err)
	}
	at = nil
	if err := batch.Walk(b[:len(b)-1], visit); !errors.Is(err, batch.ErrShort) || len(at) != 1 {
		t.Errorf("cut input: visited %v, error %v, want ErrShort after one batch", at, err)
	}
	if err := batch.Walk(b, func(int, batch.Header) error { return io.EOF }); err != io.EOF {
		t.Errorf("error is %v, want the function's own", err)
	}
	if err := batch.Walk(nil, visit); err != nil {
		t.Errorf("no batches: %v", err)
	}
}

func TestHeaderWorkDoesNotAllocate(t *testing.T) {
	b := idempotent()
	batches := append(append([]byte{}, b...), b...)
	calls := map[string]func(){
		"Parse":    func() { batch.Parse(b) },
		"short":    func() { batch.Parse(b[:len(b)-1]) },
		"Validate": func() { batch.Validate(b, 1000) },
		"Patch":    func() { batch.Patch(b, 0, 1) },
		"Walk":     func() { batch.Walk(batches, func(int, batch.Header) error { return nil }) },
		"Walker": func() {
			w := batch.NewWalker(batch.Place{Length: int64(len(b)), Last: 2, Epoch: batch.AnyEpoch})
			h, err := w.Check(b)
			if w.Skip(&h); err != nil || w.End() != nil {
				panic(err)
			}
		},
	}
	for name, call := range calls {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

var sink batch.Header

func BenchmarkParse(b *testing.B) {
	data := idempotent()
	for b.Loop() {
		sink, _ = batch.Parse(data)
	}
}

func BenchmarkValidate16KiB(b *testing.B) {
	data := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, string(make([]byte, 16<<10)))})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sink, _ = batch.Validate(data, 1<<20)
	}
}

func BenchmarkValidate1MiB(b *testing.B) {
	data := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, string(make([]byte, 1<<20)))})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sink, _ = batch.Validate(data, 2<<20)
	}
}

func TestCRCOfABatchInPiecesIsThatOfTheWhole(t *testing.T) {
	b := batchtest.Build(batchtest.Spec{Records: batchtest.Values(1, "some", "records")})
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for first := range len(b) + 1 {
		for second := first; second <= len(b); second += 7 {
			if !batch.CheckCRCParts([][]byte{b[:first], b[first:second], b[second:]}, h) {
				t.Fatalf("pieces of %d, %d and %d bytes fail", first, second-first, len(b)-second)
			}
		}
	}
	b[30] ^= 1
	if batch.CheckCRCParts([][]byte{b[:25], b[25:]}, h) {
		t.Error("damage passes")
	}
}
