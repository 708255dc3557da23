package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

// batching is a store that deletes many objects in one request.
type batching struct {
	*mem.Store
	batches *[]int
	answer  func(keys []string) ([]error, error)
}

func (s batching) DeleteBatch(_ context.Context, keys []string) ([]error, error) {
	*s.batches = append(*s.batches, len(keys))
	if s.answer != nil {
		return s.answer(keys)
	}
	if err := objstore.CheckBatch(keys); err != nil {
		return nil, err
	}
	for _, key := range keys {
		s.DeleteNow(key)
	}
	return make([]error, len(keys)), nil
}

func TestDeleteAllHasAnOutcomeForEachKeyWhateverTheStoreSays(t *testing.T) {
	errAway, errLocked := errors.New("away"), errors.New("locked")
	keys := make([]string, 2*objstore.MaxBatch+1)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	for _, c := range []struct {
		name    string
		answer  func(keys []string) ([]error, error)
		batches []int
		failed  int
		singles int
	}{
		{"all", func(k []string) ([]error, error) { return make([]error, len(k)), nil }, []int{1000, 1000, 1}, 0, 0},
		{"no answer", func([]string) ([]error, error) { return nil, errAway }, []int{1000, 1000, 1}, len(keys), 0},
		{"an outcome is missing", func(k []string) ([]error, error) { return make([]error, len(k)-1), nil }, []int{1000, 1000, 1}, len(keys), 0},
		{"no batches", func([]string) ([]error, error) { return nil, errors.ErrUnsupported }, []int{1000}, 0, len(keys)},
		{"one is locked", func(k []string) ([]error, error) {
			outcomes := make([]error, len(k))
			outcomes[0] = errLocked
			return outcomes, nil
		}, []int{1000, 1000, 1}, 3, 0},
	} {
		store := batching{Store: mem.New(nil, nil), answer: c.answer, batches: new([]int)}
		outcomes := objstore.DeleteAll(t.Context(), store, keys)
		if len(outcomes) != len(keys) || !slices.Equal(*store.batches, c.batches) {
			t.Errorf("%s: %d outcomes of batches %v", c.name, len(outcomes), *store.batches)
		}
		failed := len(outcomes) - count(outcomes, nil)
		if singles := store.Calls(objstore.OpDelete); failed != c.failed || singles != c.singles {
			t.Errorf("%s: %d failed, %d deleted one by one", c.name, failed, singles)
		}
		if c.name == "one is locked" && !errors.Is(outcomes[1000], errLocked) {
			t.Errorf("object 1000: %v", outcomes[1000])
		}
	}
}

func count(errs []error, want error) (n int) {
	for _, err := range errs {
		if errors.Is(err, want) || err == nil && want == nil {
			n++
		}
	}
	return n
}

func TestABatchingStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) objstore.Store {
		store := batching{Store: mem.New(nil, nil), batches: new([]int)}
		store.answer = func(keys []string) ([]error, error) {
			var outcomes []error
			for _, key := range keys {
				outcomes = append(outcomes, store.Delete(t.Context(), key))
			}
			return outcomes, nil
		}
		return endable{store}
	})
}

// endable refuses calls whose context has ended.
type endable struct{ batching }

func (s endable) DeleteBatch(ctx context.Context, keys []string) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.batching.DeleteBatch(ctx, keys)
}

func TestProbeFindsAStoreWhoseBatchesLie(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(s *mem.Store, keys []string) ([]error, error)
		says   string
	}{
		"nothing is deleted": {func(_ *mem.Store, keys []string) ([]error, error) { return make([]error, len(keys)), nil }, "deleted can be read"},
		"one is deleted": {func(s *mem.Store, keys []string) ([]error, error) {
			s.DeleteNow(keys[0])
			return make([]error, len(keys)), nil
		}, "deleted can be read"},
		"all are deleted": {func(s *mem.Store, keys []string) ([]error, error) {
			for _, info := range s.ListNow("") {
				s.DeleteNow(info.Key)
			}
			return make([]error, len(keys)), nil
		}, "reads as missing"},
	} {
		store := batching{Store: mem.New(nil, nil), batches: new([]int)}
		store.answer = func(keys []string) ([]error, error) { return c.answer(store.Store, keys) }
		err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil)
		if !errors.Is(err, objstore.ErrUnsafe) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	store := batching{Store: mem.New(nil, nil), batches: new([]int)}
	store.answer = func([]string) ([]error, error) { return nil, objstore.ErrDenied }
	err := objstore.Probe(t.Context(), store, "probe", objstore.Quick, nil)
	if !errors.Is(err, objstore.ErrDenied) || errors.Is(err, objstore.ErrUnsafe) {
		t.Errorf("deletes are not allowed: %v", err)
	}
}

func TestInstrumentReportsABatchAsOneRequestWithItsFirstFailure(t *testing.T) {
	var got []string
	observe := func(op objstore.Op, _ int64, _ time.Duration, err error) { got = append(got, fmt.Sprint(op, " ", err)) }
	errLocked := errors.New("locked")
	inner := batching{Store: mem.New(nil, nil), batches: new([]int)}
	for _, answer := range []func([]string) ([]error, error){
		nil,
		func([]string) ([]error, error) { return []error{nil, errLocked}, nil },
		func([]string) ([]error, error) { return nil, objstore.ErrDenied },
		func([]string) ([]error, error) { return nil, errors.ErrUnsupported },
	} {
		inner.answer = answer
		objstore.DeleteAll(t.Context(), objstore.Instrument(inner, observe), []string{"a", "b"})
	}
	objstore.DeleteAll(t.Context(), objstore.Instrument(mem.New(nil, nil), observe), []string{"a"})
	want := []string{
		"delete_batch <nil>", "delete_batch locked", "delete_batch " + objstore.ErrDenied.Error(),
		"delete <nil>", "delete <nil>", "delete <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("observed %q", got)
	}
}

// A wrapper must not hide the clock of its store.
func TestInstrumentPassesTheStoresTimeOn(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := objstore.Instrument(mem.New(func() time.Time { return now }, nil), func(objstore.Op, int64, time.Duration, error) {})
	clock := s.(objstore.Clock)
	if at, n := clock.StoreTime(); n != 0 || !at.IsZero() {
		t.Errorf("before any answer: %v, %d", at, n)
	}
	s.Create(t.Context(), "a", objstore.Plain(nil))
	s.Get(t.Context(), "b")
	if at, n := clock.StoreTime(); n != 1 || !at.Equal(now) {
		t.Errorf("after an answer: %v, %d", at, n)
	}
	if at := s.(objstore.Dated).NewestModified(); !at.IsZero() {
		t.Errorf("a store that knows no ages: %v", at)
	}
}
