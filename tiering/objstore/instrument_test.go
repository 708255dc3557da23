package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

func TestInstrumentedStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) objstore.Store {
		return objstore.Instrument(mem.New(nil, nil), func(objstore.Op, int64, time.Duration, error) {})
	})
}

func TestInstrumentReportsEveryCall(t *testing.T) {
	var got []string
	s := objstore.Instrument(mem.New(nil, nil), func(op objstore.Op, bytes int64, took time.Duration, err error) {
		if took < 0 {
			t.Errorf("%s took %v", op, took)
		}
		got = append(got, fmt.Sprintf("%s %d %t", op, bytes, errors.Is(err, objstore.ErrNotFound)))
	})
	ctx := t.Context()
	s.Create(ctx, "a", objstore.Plain([]byte("0123456789")))
	s.Get(ctx, "a")
	s.GetRange(ctx, "a", 2, make([]byte, 3))
	s.GetTail(ctx, "a", 4)
	s.List(ctx, "", "", func(objstore.Info) error { return nil })
	s.Delete(ctx, "a")
	if _, err := s.Get(ctx, "a"); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	want := []string{
		"create 10 false", "get 10 false", "get_range 3 false", "get_tail 4 false", "list 0 false", "delete 0 false", "get 0 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("observed %q", got)
	}
	if s.String() != "mem:" {
		t.Errorf("named %q", s)
	}
}

// A caller that has seen enough of a listing is no failure of the store.
func TestAListingThatItsCallerEndsIsNoFailure(t *testing.T) {
	var observed []error
	s := objstore.Instrument(mem.New(nil, nil), func(op objstore.Op, _ int64, _ time.Duration, err error) {
		if op == objstore.OpList {
			observed = append(observed, err)
		}
	})
	for _, key := range []string{"a", "b"} {
		if err := s.Create(t.Context(), key, objstore.Plain(nil)); err != nil {
			t.Fatal(err)
		}
	}
	enough := errors.New("enough")
	if err := s.List(t.Context(), "", "", func(objstore.Info) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the caller gets %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.List(ended, "", "", func(objstore.Info) error { return nil }); err == nil {
		t.Error("a listing that was given up has no error")
	}
	if len(observed) != 2 || observed[0] != nil || !errors.Is(observed[1], context.Canceled) {
		t.Errorf("observed %v", observed)
	}
}
