package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// scan returns the batches from an offset on.
func (w *world) scan(k partlog.Key, from int64) (batches [][]byte, next int64, err error) {
	next, err = w.reader.Scan(w.tb.Context(), k, from, func(_ batch.Header, b []byte) error {
		batches = append(batches, bytes.Clone(b))
		return nil
	})
	return batches, next, err
}

func TestScanPassesOnTheWholeLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, nil)
		drawLog(rt, w)
		if !w.opened[keyA] {
			return
		}
		from := rapid.Int64Range(0, w.ends[keyA]).Draw(rt, "from")
		got, next, err := w.scan(keyA, from)
		if err != nil || next != w.ends[keyA] {
			rt.Fatalf("scan from %d: ends at %d, want %d: %v", from, next, w.ends[keyA], err)
		}
		if want := batchesFrom(t, w.log[keyA], from); !slices.EqualFunc(got, want, bytes.Equal) {
			rt.Fatalf("scan from %d: %d batches, want %d, or others", from, len(got), len(want))
		}
	})
}

// batchesFrom are those of a log that hold offsets from this one on.
func batchesFrom(t testing.TB, log [][]byte, from int64) [][]byte {
	t.Helper()
	for i, b := range log {
		h, err := batch.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if h.LastOffset() >= from {
			return log[i:]
		}
	}
	return nil
}

func TestScanReadsObjectsAtTheSameTime(t *testing.T) {
	w := newWorld(t, nil)
	const objects = 3 * scanAhead
	for i := range objects {
		w.values(fmt.Sprint(i))
	}
	arrived := make(chan struct{}, objects)
	release := make(chan struct{})
	w.faults(func(mem.Call) mem.Action {
		arrived <- struct{}{}
		<-release
		return mem.Action{}
	})
	go func() {
		for range scanAhead { // hangs if they come one after another
			<-arrived
		}
		close(release)
	}()
	if got, _, err := w.scan(keyA, 0); err != nil || len(got) != objects {
		t.Errorf("%d batches: %v", len(got), err)
	}
	if n := w.gets.Load(); n != objects {
		t.Errorf("%d GETs for %d objects", n, objects)
	}
}

func TestScanEndsAtTheHeadThatWasProved(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	w.prover.do = func(context.Context) error {
		if w.prover.calls.Load() == 1 {
			w.values("b")
		}
		return nil
	}
	var got []int64
	next, err := w.reader.Scan(t.Context(), keyA, 0, func(h batch.Header, _ []byte) error {
		got = append(got, h.BaseOffset)
		w.values("too late")
		return nil
	})
	if err != nil || next != 2 || !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("scan gave offsets %v and ended at %d: %v", got, next, err)
	}
}

func TestScanSaysWhereToGoOn(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 5 {
		w.values(fmt.Sprint(i))
	}
	errEnough := errors.New("enough")
	next, err := w.reader.Scan(t.Context(), keyA, 1, func(h batch.Header, _ []byte) error {
		if h.BaseOffset == 3 {
			return errEnough
		}
		return nil
	})
	if next != 3 || err != errEnough {
		t.Errorf("next is %d, error %v", next, err)
	}
	w.restart(nil)
	w.faults(func(c mem.Call) mem.Action {
		if strings.HasSuffix(c.Key, fmt.Sprintf("%020d", w.seq)) {
			return mem.FailBefore(errors.New("no route to host"))
		}
		return mem.Action{}
	})
	if got, next, err := w.scan(keyA, 0); next != 4 || len(got) != 4 || !errors.Is(err, ErrNotReady) {
		t.Errorf("next is %d, error %v", next, err)
	}
	w.faults(nil)
	if got, next, err := w.scan(keyA, 4); next != 5 || len(got) != 1 || err != nil {
		t.Errorf("next is %d, error %v", next, err)
	}
}

func TestScanRefusesWhatItCannotAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	for _, tc := range []struct {
		name string
		key  partlog.Key
		from int64
		want error
	}{
		{"no such partition", noKey, 0, ErrUnknownPartition},
		{"not open", keyB, 0, ErrNotReady},
		{"beyond the end", keyA, 2, ErrOutOfRange},
	} {
		if got, next, err := w.scan(tc.key, tc.from); !errors.Is(err, tc.want) || next != tc.from || len(got) > 0 {
			t.Errorf("%s: %d batches, next %d, error %v, want %v", tc.name, len(got), next, err, tc.want)
		}
	}
	w.prover.do = func(context.Context) error { return errors.New("store is away") }
	if _, _, err := w.scan(keyA, 0); !errors.Is(err, ErrNotReady) {
		t.Errorf("without a proof the error is %v", err)
	}
}

func TestScanReportsMissingAndDamagedObjects(t *testing.T) {
	w := newWorld(t, nil)
	w.values("a")
	seq := w.values("b")
	w.values("c")
	w.faults(func(c mem.Call) mem.Action {
		if strings.HasSuffix(c.Key, fmt.Sprintf("%020d", seq)) {
			return mem.Action{Damage: func(b []byte) []byte { b[bytes.Index(b, w.log[keyA][1])+batch.HeaderSize] ^= 1; return b }}
		}
		return mem.Action{}
	})
	if _, next, err := w.scan(keyA, 0); next != 1 || !errors.Is(err, ErrStorage) {
		t.Errorf("damaged: next is %d, error %v", next, err)
	}
	w.faults(nil)
	w.forgive()
	if _, next, err := w.scan(keyA, 0); next != 3 || err != nil {
		t.Errorf("damaged on the way only: next is %d, error %v", next, err)
	}
	w.restart(nil)
	if err := w.store.Delete(t.Context(), segment.JournalKey(testJournal, seq)); err != nil {
		t.Fatal(err)
	}
	if _, next, err := w.scan(keyA, 0); next != 1 || !errors.Is(err, errMissing) {
		t.Errorf("missing: next is %d, error %v", next, err)
	}
}

func TestScanBeginsAtTheLogStart(t *testing.T) {
	w := newWorld(t, nil)
	w.ends[keyA] = 10 // the partition is opened with this start offset
	w.values("a")
	if got, next, err := w.scan(keyA, 0); len(got) != 1 || next != 11 || err != nil {
		t.Errorf("%d batches, next %d: %v", len(got), next, err)
	}
}
