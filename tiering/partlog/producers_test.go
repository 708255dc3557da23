package partlog

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

const testProducer = 7

// produced is the header of a batch with these sequence numbers.
func produced(epoch int16, first, last int32) batch.Header {
	return batch.Header{
		ProducerID:      testProducer,
		ProducerEpoch:   epoch,
		BaseSequence:    first,
		LastOffsetDelta: int32((int64(last) - int64(first)) & math.MaxInt32),
		MaxTimestamp:    int64(first),
	}
}

func TestProducerChecksAreKafkas(t *testing.T) {
	full := []batch.Header{ // 0-9 is forgotten
		produced(3, 0, 9), produced(3, 10, 19), produced(3, 20, 29),
		produced(3, 30, 39), produced(3, 40, 49), produced(3, 50, 59),
	}
	wrap := []batch.Header{produced(0, math.MaxInt32-4, math.MaxInt32-2)}
	for _, tc := range []struct {
		name    string
		history []batch.Header
		batch   batch.Header
		want    error // nil: new
		dup     int64 // base offset of the original, 0: not a duplicate
	}{
		{name: "unknown producer may start anywhere", batch: produced(0, 77, 80)},
		{name: "next sequence", history: full, batch: produced(3, 60, 60)},
		{name: "gap", history: full, batch: produced(3, 61, 70), want: ErrOutOfOrder},
		{name: "duplicate of the last", history: full, batch: produced(3, 50, 59), dup: 1050},
		{name: "duplicate of the oldest remembered", history: full, batch: produced(3, 10, 19), dup: 1010},
		{name: "older than the window", history: full, batch: produced(3, 0, 9), want: ErrDuplicateSequence},
		{name: "overlaps the window", history: full, batch: produced(3, 5, 14), want: ErrOutOfOrder},
		{name: "part of a batch", history: full, batch: produced(3, 50, 55), want: ErrOutOfOrder},
		{name: "same first, longer", history: full, batch: produced(3, 50, 62), want: ErrOutOfOrder},
		{name: "before the first known, window not full", history: full[1:3], batch: produced(3, 0, 9), want: ErrOutOfOrder},
		{name: "old epoch", history: full, batch: produced(2, 60, 60), want: ErrProducerEpoch},
		{name: "old epoch with the sequences of a known batch", history: full, batch: produced(2, 50, 59), want: ErrProducerEpoch},
		{name: "new epoch at zero", history: full, batch: produced(4, 0, 9)},
		{name: "new epoch not at zero", history: full, batch: produced(4, 60, 60), want: ErrOutOfOrder},
		{name: "new epoch forgets the old one's batches", history: []batch.Header{produced(3, 0, 9), produced(4, 0, 4)},
			batch: produced(4, 0, 9), want: ErrOutOfOrder},
		{name: "batch across the wrap", history: wrap, batch: produced(0, math.MaxInt32-1, 1)},
		{name: "zero after the greatest", history: append(slices.Clone(wrap), produced(0, math.MaxInt32-1, math.MaxInt32)),
			batch: produced(0, 0, 0)},
		{name: "zero before the greatest", history: wrap, batch: produced(0, 0, 0), want: ErrOutOfOrder},
		{name: "duplicate across the wrap", history: append(slices.Clone(wrap), produced(0, math.MaxInt32-1, 1)),
			batch: produced(0, math.MaxInt32-1, 1), dup: 1000 + math.MaxInt32 - 1},
		{name: "not idempotent", history: full, batch: batch.Header{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var table Producers
			for _, h := range tc.history {
				table.Add(h, 1000+int64(h.BaseSequence), 1)
			}
			verdict, original, err := table.Check(tc.batch)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			want := VerdictNew
			switch {
			case tc.want != nil:
				want = 0
			case tc.dup != 0:
				want = VerdictDuplicate
			}
			if verdict != want {
				t.Fatalf("verdict %d, want %d", verdict, want)
			}
			if original.BaseOffset != tc.dup {
				t.Errorf("original is at %d, want %d", original.BaseOffset, tc.dup)
			}
			if tc.dup != 0 && original.Timestamp != tc.batch.MaxTimestamp {
				t.Errorf("original has timestamp %d, want %d", original.Timestamp, tc.batch.MaxTimestamp)
			}
		})
	}
}

// TestProducerWindowMatchesUnboundedHistory compares the table with a model that
// forgets nothing and counts sequences without a wrap.
func TestProducerWindowMatchesUnboundedHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type sequences struct{ first, last int64 }
		var (
			table   Producers
			history []sequences // of the current epoch
			epoch   int16
			end     int64 = 1000
		)
		next := rapid.SampledFrom([]int64{0, 5, math.MaxInt32 - 20}).Draw(t, "start")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			first := next + rapid.SampledFrom([]int64{0, 0, 0, 1, -3, -6, -20}).Draw(t, "first")
			if len(history) > 0 && rapid.Bool().Draw(t, "retry") {
				first = rapid.SampledFrom(history).Draw(t, "of").first
			}
			first = max(first, 0)
			last := first + rapid.Int64Range(0, 3).Draw(t, "more")
			newEpoch := epoch + rapid.SampledFrom([]int16{0, 0, 0, 0, 0, 0, 0, 1, -1}).Draw(t, "epoch")
			h := produced(newEpoch, int32(first&math.MaxInt32), int32(last&math.MaxInt32))

			window := history[max(0, len(history)-segment.MaxProducerBatches):]
			known := len(history) > 0
			var want Verdict
			var wantErr error
			switch {
			case !known:
				want = VerdictNew
			case newEpoch == epoch && slices.Contains(window, sequences{first, last}):
				want = VerdictDuplicate
			case newEpoch < epoch:
				wantErr = ErrProducerEpoch
			case newEpoch > epoch && first&math.MaxInt32 == 0:
				want = VerdictNew
			case newEpoch > epoch:
				wantErr = ErrOutOfOrder
			case first == next:
				want = VerdictNew
			case len(window) == segment.MaxProducerBatches && last < window[0].first:
				wantErr = ErrDuplicateSequence
			default:
				wantErr = ErrOutOfOrder
			}

			got, original, err := table.Check(h)
			if got != want || !errors.Is(err, wantErr) {
				t.Fatalf("epoch %d, [%d, %d] after %v of epoch %d: %d, %v, want %d, %v",
					newEpoch, first, last, window, epoch, got, err, want, wantErr)
			}
			if got == VerdictDuplicate && original.FirstSequence != h.BaseSequence {
				t.Fatalf("original is %+v", original)
			}
			if got != VerdictNew {
				continue
			}
			table.Add(h, end, end)
			if newEpoch != epoch {
				epoch, history = newEpoch, nil
			}
			end += last - first + 1
			history, next = append(history, sequences{first, last}), last+1
			p, ok := table.get(testProducer)
			if !ok || p.Batches[len(p.Batches)-1].LastOffset != end-1 || len(p.Batches) > segment.MaxProducerBatches {
				t.Fatalf("the last of %+v does not end at %d", p, end-1)
			}
		}
	})
}

func TestProducersSurviveExportAndImport(t *testing.T) {
	var live, rebuilt Producers
	for i := range int32(8) {
		live.Add(produced(2, i, i), int64(100+i), int64(i))
	}
	live.Each(rebuilt.put)
	for first := range int32(10) {
		h := produced(2, first, first)
		v, o, err := live.Check(h)
		v2, o2, err2 := rebuilt.Check(h)
		if v != v2 || o != o2 || !errors.Is(err2, err) {
			t.Errorf("sequence %d: live %d %v %v, rebuilt %d %v %v", first, v, o, err, v2, o2, err2)
		}
	}
}

func TestExpireForgetsOnlyTheUnused(t *testing.T) {
	var table Producers
	for id := range int64(4) {
		h := produced(0, 0, 0)
		h.ProducerID = id
		table.Add(h, 0, 100+id)
	}
	table.Expire(102)
	if _, ok := table.get(1); ok || table.Len() != 2 {
		t.Errorf("%d producers left, want those used at 102 and 103", table.Len())
	}
}

func TestExportedProducerIsACopy(t *testing.T) {
	var table Producers
	table.Add(produced(0, 0, 0), 10, 1)
	p, _ := table.get(testProducer)
	p.Batches[0].BaseOffset = 99
	if again, _ := table.get(testProducer); again.Batches[0].BaseOffset != 10 {
		t.Error("changing an exported producer changed the table")
	}
}

func (t *Producers) get(id int64) (segment.Producer, bool) {
	w := t.window(id)
	if w == nil {
		return segment.Producer{}, false
	}
	return w.export(id), true
}

func (t *Producers) put(p segment.Producer, usedMs int64) {
	t.use(p.ID, usedMs).window = window{epoch: p.Epoch, batches: p.Batches}
}
