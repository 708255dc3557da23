package hold_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/hold"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

var (
	cluster = segment.ID{1}
	began   = time.UnixMilli(1_700_000_000_000)
)

func place(t *testing.T, store objstore.Store, id byte, lasts time.Duration) segment.Hold {
	t.Helper()
	h := segment.Hold{Cluster: cluster, Object: segment.ID{id}, CreatedMs: began.UnixMilli(), UntilMs: began.Add(lasts).UnixMilli(), Reason: "copy"}
	if err := hold.Place(t.Context(), store, h); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAHoldCountsUntilItEndsOrIsGivenUp(t *testing.T) {
	store := mem.New(time.Now, nil)
	short, long := place(t, store, 1, time.Hour), place(t, store, 2, 2*time.Hour)
	for _, tc := range []struct {
		after time.Duration
		want  []segment.Hold
	}{
		{0, []segment.Hold{short, long}},
		{64 * time.Minute, []segment.Hold{short, long}}, // clocks may be apart
		{66 * time.Minute, []segment.Hold{long}},
		{3 * time.Hour, nil},
	} {
		got, err := hold.Active(t.Context(), store, cluster, began.Add(tc.after))
		if err != nil || len(got) != len(tc.want) || len(got) > 0 && got[0] != tc.want[0] {
			t.Errorf("after %v: %v, %v, want %v", tc.after, got, err, tc.want)
		}
	}
	if err := hold.Release(t.Context(), store, long.Object); err != nil {
		t.Fatal(err)
	}
	if got, err := hold.Active(t.Context(), store, cluster, began); err != nil || len(got) != 1 || got[0] != short {
		t.Errorf("after the release of one: %v, %v", got, err)
	}
}

func TestAHoldThatCannotBeReadHasNoEnd(t *testing.T) {
	store := mem.New(time.Now, nil)
	for _, h := range []segment.Hold{
		{Cluster: segment.ID{9}, Object: segment.ID{3}}, // of another cluster
		{Cluster: cluster, Object: segment.ID{4}},
	} {
		b, err := segment.EncodeHold(h)
		if err != nil {
			t.Fatal(err)
		}
		if h.Object == (segment.ID{4}) {
			b[len(b)-1] ^= 1
		}
		if err := store.Create(t.Context(), segment.HoldKey(h.Object), objstore.Plain(b)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := hold.Active(t.Context(), store, cluster, began.AddDate(100, 0, 0))
	if err != nil || len(got) != 2 || got[0].UntilMs != math.MaxInt64 || got[1].Reason == "" {
		t.Errorf("%v, %v, want two holds without an end", got, err)
	}
}

func TestAFailedLookIsNotNoHold(t *testing.T) {
	failed := errors.New("no answer")
	var op objstore.Op
	store := mem.New(time.Now, func(c mem.Call) mem.Action {
		if c.Op == op {
			return mem.FailBefore(failed)
		}
		return mem.Action{}
	})
	place(t, store, 1, time.Hour)
	op = objstore.OpList
	if _, err := hold.Active(t.Context(), store, cluster, began); !errors.Is(err, failed) {
		t.Errorf("a listing that fails: %v", err)
	}
	op = objstore.OpGet
	if got, err := hold.Active(t.Context(), store, cluster, began.AddDate(1, 0, 0)); err != nil || len(got) != 1 {
		t.Errorf("a hold that is not returned: %v, %v, want it to count", got, err)
	}
}

func TestAHoldMustBeListed(t *testing.T) {
	store := mem.New(time.Now, nil)
	lagging := unlisted{store}
	err := hold.Place(t.Context(), lagging, segment.Hold{Cluster: cluster, Object: segment.ID{1}})
	if !errors.Is(err, hold.ErrNotListed) {
		t.Errorf("a store whose listings lag: %v", err)
	}
}

// unlisted is a store whose listings lack everything.
type unlisted struct{ *mem.Store }

func (unlisted) List(context.Context, string, string, func(objstore.Info) error) error { return nil }
