package fetch

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/batch/batchtest"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// naiveRecord is a record as ListOffset should see it.
type naiveRecord struct {
	offset, timestamp int64
	epoch             int32
}

func (r naiveRecord) at() OffsetAt {
	return OffsetAt{Offset: r.offset, Timestamp: r.timestamp, Epoch: r.epoch}
}

// drawTimes commits records with random timestamps, codecs and timestamp types
// in several epochs, and returns them.
//
// Some headers have false times that clients really sent: no newest time, or that of the
// first record.
func drawTimes(t *rapid.T, w *world) []naiveRecord {
	var all []naiveRecord
	for range rapid.IntRange(1, 4).Draw(t, "objects") {
		if rapid.Bool().Draw(t, "fence") {
			w.fence()
		}
		var batches [][]byte
		noTimes := rapid.IntRange(0, 3).Draw(t, "no times") == 0
		for range rapid.IntRange(0, 4).Draw(t, "batches") {
			spec := batchtest.Spec{Codec: rapid.SampledFrom([]batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd}).Draw(t, "codec")}
			appendTime := rapid.Int64Range(-40, 40).Draw(t, "append time") // negative: the client's time
			if noTimes {
				appendTime = -1
			}
			for i := range rapid.IntRange(1, 4).Draw(t, "records") {
				ts := rapid.Int64Range(1, 40).Draw(t, "time")
				spec.Records = append(spec.Records, batchtest.Record{Value: []byte(strconv.Itoa(i)), Timestamp: ts})
				if appendTime >= 0 {
					ts = appendTime
				}
				all = append(all, naiveRecord{offset: int64(len(all)), timestamp: ts, epoch: int32(w.epoch)})
			}
			b := batchtest.Build(spec)
			if appendTime >= 0 {
				batch.SetLogAppendTime(b, appendTime)
			} else if noTimes {
				batch.SetMaxTimestamp(b, -1)
			}
			batches = append(batches, b)
		}
		claimFirst(t, batches)
		w.commit(map[partlog.Key][][]byte{keyA: batches})
		if rapid.IntRange(0, 2).Draw(t, "page") == 0 {
			w.page(rapid.IntRange(1, 3).Draw(t, "least"))
		}
	}
	return all
}

// claimFirst makes one batch name the time of its first record as the newest. It does so
// only if another batch of the object is as new, so that the object's newest time is right.
func claimFirst(t *rapid.T, batches [][]byte) {
	if len(batches) == 0 {
		return
	}
	one := rapid.IntRange(0, len(batches)-1).Draw(t, "claims the first")
	h, _ := batch.Parse(batches[one])
	for i, b := range batches {
		if other, _ := batch.Parse(b); i != one && !h.LogAppendTime() && other.MaxTimestamp >= h.MaxTimestamp {
			batch.SetMaxTimestamp(batches[one], min(h.BaseTimestamp, h.MaxTimestamp))
		}
	}
}

func TestListOffsetMatchesANaiveLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, nil)
		all := drawTimes(rt, w)
		end := int64(len(all))
		if rapid.Bool().Draw(rt, "delete") && end > 0 {
			start := rapid.Int64Range(1, end).Draw(rt, "start")
			w.deleteBefore(keyA, start)
			all = all[start:]
		}
		list := func(timestamp int64) OffsetAt {
			at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, timestamp)
			if err != nil {
				rt.Fatal(err)
			}
			return at
		}
		for ts := int64(0); ts < 43; ts++ {
			want := nowhere
			for _, r := range all {
				if r.timestamp >= ts {
					want = r.at()
					break
				}
			}
			if got := list(ts); got != want {
				rt.Fatalf("time %d: %+v, want %+v in %v", ts, got, want, all)
			}
		}
		newest, earliest := nowhere, OffsetAt{Offset: end - int64(len(all)), Timestamp: -1, Epoch: int32(w.epoch)}
		for i, r := range all {
			if r.timestamp > newest.Timestamp {
				newest = r.at()
			}
			if i == 0 {
				earliest.Epoch = r.epoch
			}
		}
		if got := list(MaxTimestamp); got != newest {
			rt.Fatalf("greatest timestamp: %+v, want %+v in %v", got, newest, all)
		}
		if got := list(Earliest); got != earliest {
			rt.Fatalf("earliest: %+v, want %+v", got, earliest)
		}
		if got, want := list(Latest), (OffsetAt{Offset: end, Timestamp: -1, Epoch: int32(w.epoch)}); got != want {
			rt.Fatalf("latest: %+v, want %+v", got, want)
		}
		w.reader.cfg.Cache.Close()
	})
}

func TestListOffsetOfAMovedPartitionStartsAtItsStart(t *testing.T) {
	w := newWorld(t, nil)
	w.ends[keyA] = 100
	w.values("a")
	if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, Earliest); err != nil || at.Offset != 100 {
		t.Errorf("earliest %+v, %v", at, err)
	}
}

// TestListOffsetProvesTheHead has a node that lags by one record until it proves
// its head.
func TestListOffsetProvesTheHead(t *testing.T) {
	for _, tc := range []struct {
		name      string
		timestamp int64
		want      int64
		proofs    int64
	}{
		{"latest", Latest, 2, 1},
		{"earliest", Earliest, 0, 1},
		{"greatest timestamp", MaxTimestamp, 1, 1},
		{"time that is found", 1, 0, 0},
		{"time that is found once the head is proved", 50, 1, 1},
		{"time beyond the end", 51, -1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.values("a")
			w.prover.do = func(context.Context) error {
				w.commit(map[partlog.Key][][]byte{keyA: {batchOf(50, "b")}})
				return nil
			}
			at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, tc.timestamp)
			if err != nil || at.Offset != tc.want || w.prover.calls.Load() != tc.proofs {
				t.Errorf("%+v, %v after %d proofs, want %d after %d", at, err, w.prover.calls.Load(), tc.want, tc.proofs)
			}
			w.prover.do = func(context.Context) error { return errors.New("no store") }
			_, err = w.reader.Offsets().ListOffset(t.Context(), keyA, -1, tc.timestamp)
			if found := tc.timestamp == 1 || tc.timestamp == 50; !found && !errors.Is(err, ErrNotReady) {
				t.Errorf("without a proof: error %v, want ErrNotReady", err)
			}
		})
	}
}

// TestWhatIsTakenForTheEndKnowsWhatWasAcknowledged has a leader that has acknowledged a
// record it has not committed yet.
func TestWhatIsTakenForTheEndKnowsWhatWasAcknowledged(t *testing.T) {
	ask := func(timestamp int64) func(w *world) (int64, error) {
		return func(w *world) (int64, error) {
			at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, timestamp)
			return at.Offset, err
		}
	}
	end := func(epoch int32) func(w *world) (int64, error) {
		return func(w *world) (int64, error) {
			at, err := w.reader.Offsets().EpochEnd(t.Context(), keyA, -1, epoch)
			return at.End, err
		}
	}
	for name, tc := range map[string]struct {
		ask     func(w *world) (int64, error)
		want    int64
		settles bool
	}{
		"latest":                {ask(Latest), 2, true},
		"greatest timestamp":    {ask(MaxTimestamp), 1, true},
		"time of no record":     {ask(50), 1, true},
		"time beyond the end":   {ask(51), -1, true},
		"end of the epoch":      {end(2), 2, true},
		"earliest":              {ask(Earliest), 0, false},
		"time of a record":      {ask(1), 0, false},
		"end of an older epoch": {end(1), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.fence()
			w.values("a")
			asked := 0
			w.view.Settle = func(context.Context) error {
				if asked++; asked == 1 {
					w.commit(map[partlog.Key][][]byte{keyA: {batchOf(50, "b")}})
				}
				return nil
			}
			if got, err := tc.ask(w); err != nil || got != tc.want || asked > 0 != tc.settles {
				t.Errorf("%d, %v after %d waits, want %d and waits: %v", got, err, asked, tc.want, tc.settles)
			}
			w.view.Settle = func(context.Context) error { return errors.New("no store") }
			switch got, err := tc.ask(w); {
			case strings.HasPrefix(name, "time of"): // found by now
			case tc.settles != errors.Is(err, ErrNotReady):
				t.Errorf("acknowledged records are not committed: %d, %v", got, err)
			}
		})
	}
}

func TestListOffsetRefusesUnknownSpecialTimestamps(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	if _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, -4); !errors.Is(err, ErrTimestamp) {
		t.Errorf("error %v, want ErrTimestamp", err)
	}
}

// garbled is a batch whose records do not decode, though its CRC is right, and which
// says of itself that it is the newest.
func garbled(t *testing.T, ts int64) []byte {
	t.Helper()
	b := batchOf(ts, "abc")
	b[batch.HeaderSize] = 0x01 // the first record's length
	return batchtest.FixCRC(b)
}

func TestALookUpByTimeStepsOverRecordsThatDoNotDecode(t *testing.T) {
	for name, far := range map[string]bool{"near": false, "far": true} {
		w := newWorld(t, nil)
		w.far = far
		var reported []Damage
		w.commit(map[partlog.Key][][]byte{keyA: {garbled(t, 5), batchOf(6, "b")}})
		w.commit(map[partlog.Key][][]byte{keyA: {batchOf(40, "c", "newest")}})
		bad := w.commit(map[partlog.Key][][]byte{keyA: {garbled(t, 90)}})
		w.commit(map[partlog.Key][][]byte{keyA: {batchOf(30, "e")}})
		w.restart(func(cfg *Config) { cfg.OnUndecodable = func(d Damage) { reported = append(reported, d) } })
		for range 3 {
			for timestamp, want := range map[int64]OffsetAt{
				0: {1, 6, 1}, 5: {1, 6, 1}, 7: {2, 40, 1}, 41: nowhere, 90: nowhere, MaxTimestamp: {2, 40, 1},
			} {
				if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, timestamp); err != nil || at != want {
					t.Errorf("%s, timestamp %d: %+v, %v, want %+v", name, timestamp, at, err, want)
				}
			}
		}
		i := slices.IndexFunc(reported, func(d Damage) bool { return d.First == 4 })
		if len(reported) != 2 || w.reader.Undecodable() != 2 || i < 0 {
			t.Fatalf("%s: reported of %+v", name, reported)
		}
		if d := reported[i]; d.Object != segment.JournalKey(testJournal, bad) || d.Key != keyA || d.Last != 4 || d.Err == nil {
			t.Errorf("%s: reported of %+v", name, d)
		}
	}
}

func TestAPartitionOfNothingButGarbageHasNoTime(t *testing.T) {
	w := newWorld(t, nil)
	w.commit(map[partlog.Key][][]byte{keyA: {garbled(t, 5), garbled(t, 9)}})
	for _, timestamp := range []int64{0, 9, MaxTimestamp} {
		if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, timestamp); err != nil || at != nowhere {
			t.Errorf("timestamp %d: %+v, %v", timestamp, at, err)
		}
	}
}

func TestBrokersTimeHoldsForAllRecordsWithoutALookIntoThem(t *testing.T) {
	w := newWorld(t, nil)
	b := batchOf(5, "abc", "def")
	b[batch.HeaderSize] = 0x01 // does not decode
	batch.SetLogAppendTime(b, 70)
	w.commit(map[partlog.Key][][]byte{keyA: {b}})
	for _, timestamp := range []int64{3, 70, MaxTimestamp} {
		if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, timestamp); err != nil || at != (OffsetAt{0, 70, 1}) {
			t.Errorf("timestamp %d: %+v, %v", timestamp, at, err)
		}
	}
}

func TestNewerLeaderEpochIsProvedBeforeItIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.prover.do = func(context.Context) error { w.fence(); return nil }
	if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, 2, 0); err != nil || at.Offset != 0 {
		t.Errorf("%+v, %v, want the first record: this node lagged", at, err)
	}
}

func TestOffsetsAreFencedByLeaderEpoch(t *testing.T) {
	w := newWorld(t, nil)
	w.fence()
	w.values("a")
	for epoch, want := range map[int32]error{-1: nil, 1: ErrFencedEpoch, 2: nil, 3: ErrUnknownEpoch} {
		if _, err := w.reader.Offsets().ListOffset(t.Context(), keyA, epoch, 0); !errors.Is(err, want) {
			t.Errorf("list offset with epoch %d: error %v, want %v", epoch, err, want)
		}
		if _, err := w.reader.Offsets().EpochEnd(t.Context(), keyA, epoch, 2); !errors.Is(err, want) {
			t.Errorf("end of an epoch with epoch %d: error %v, want %v", epoch, err, want)
		}
	}
}

func TestEpochEndIsOfAProvedHead(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.prover.do = func(context.Context) error {
		w.values("b")
		w.fence()
		w.values("c")
		w.prover.do = nil
		return nil
	}
	for _, tc := range []struct {
		epoch int32
		want  EpochEnd
	}{{1, EpochEnd{1, 2}}, {2, EpochEnd{2, 3}}, {3, EpochEnd{-1, -1}}} {
		if got, err := w.reader.Offsets().EpochEnd(t.Context(), keyA, -1, tc.epoch); err != nil || got != tc.want {
			t.Errorf("epoch %d: %+v, %v, want %+v", tc.epoch, got, err, tc.want)
		}
	}
	w.prover.do = func(context.Context) error { return errors.New("no store") }
	if got, err := w.reader.Offsets().EpochEnd(t.Context(), keyA, -1, 1); !errors.Is(err, ErrNotReady) || got.End != -1 {
		t.Errorf("without a proof: %+v, %v", got, err)
	}
}
