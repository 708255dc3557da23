package fetch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestDeletedRecordsAreOutOfRange(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a", "b", "c")
	w.values("d")
	w.deleteBefore(keyA, 2)
	for offset, wantErr := range map[int64]error{0: ErrOutOfRange, 1: ErrOutOfRange, 2: nil, 3: nil, 4: nil} {
		r := w.fetchOne(want(keyA, offset))
		if !errors.Is(r.Err, wantErr) || r.LogStart != 2 || r.HighWatermark != 4 {
			t.Errorf("offset %d: %+v, want error %v", offset, r, wantErr)
		}
	}
	// The first batch is whole: it holds the offset asked for.
	if got := values(t, w.fetchOne(want(keyA, 2))); !slices.Equal(got, []string{"0=a", "1=b", "2=c", "3=d"}) {
		t.Errorf("records %v", got)
	}
}

func TestADeletionWakesThoseWhoWaitAtItsRecords(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a", "b")
	done := w.inBackground(poll(1<<20, long, want(keyA, 1)))
	select {
	case got := <-done:
		t.Fatalf("answered with %v, before MinBytes", got)
	case <-time.After(5 * time.Millisecond):
	}
	w.deleteBefore(keyA, 2)
	if r := (<-done)[0]; !errors.Is(r.Err, ErrOutOfRange) || r.LogStart != 2 {
		t.Errorf("%+v, want that offset 1 is gone", r)
	}
}

func TestEarliestIsWhereADeletionEndedOnceTheHeadIsProved(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a", "b", "c")
	w.prover.do = func(context.Context) error {
		w.prover.do = nil
		w.deleteBefore(keyA, 3)
		return nil
	}
	at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, Earliest)
	if err != nil || at != (OffsetAt{Offset: 3, Timestamp: -1, Epoch: 1}) {
		t.Errorf("earliest %+v, %v, want 3", at, err)
	}
	if at, err := w.reader.Offsets().ListOffset(t.Context(), keyA, -1, MaxTimestamp); err != nil || at != nowhere {
		t.Errorf("greatest timestamp of an empty log %+v, %v", at, err)
	}
}
