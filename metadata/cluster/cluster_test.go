package cluster

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

// boundTo is a data folder of a cluster, or a new one.
type boundTo segment.ID

var errBound = errors.New("of another cluster")

func (b boundTo) MayBind(cluster segment.ID) error {
	if segment.ID(b).IsZero() || segment.ID(b) == cluster {
		return nil
	}
	return errBound
}

func TestClusterIsMadeOnceAndReadThroughABitFlippedOnTheWay(t *testing.T) {
	flips := 0
	store := mem.New(time.Now, func(c mem.Call) mem.Action {
		if c.Op == objstore.OpGet && c.Key == segment.ClusterKey && flips > 0 {
			flips--
			return mem.BitFlipped(200)
		}
		return mem.Action{}
	})
	log := slog.New(slog.DiscardHandler)
	if _, _, err := Load(t.Context(), store, boundTo(segment.ID{9}), true, log); !errors.Is(err, errBound) || len(store.ListNow("")) > 0 {
		t.Fatalf("a data folder of another cluster: %v, the bucket has %v", err, store.ListNow(""))
	}
	var unbound boundTo
	if _, _, err := Load(t.Context(), store, unbound, false, log); !errors.Is(err, ErrNone) {
		t.Fatalf("a node that only reads, before there is a cluster: %v", err)
	}
	made, _, err := Load(t.Context(), store, unbound, true, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flips int
		want  error
	}{{0, nil}, {reads - 1, nil}, {reads, segment.ErrCorrupt}} {
		flips = tc.flips
		got, _, err := Load(t.Context(), store, unbound, false, log)
		if !errors.Is(err, tc.want) || err == nil && got != made {
			t.Errorf("%d damaged reads: %+v, %v, want %+v, %v", tc.flips, got, err, made, tc.want)
		}
		flips = 0
	}
}

func mark(t *testing.T, store objstore.Store, state segment.CopyState, n uint64) {
	t.Helper()
	c := segment.Copy{State: state, Cluster: segment.ID{1}, Object: segment.ID{2, byte(n)}, Number: n, TimeMs: 3, Source: "file:///a"}
	if err := replica.Write(t.Context(), store, c); err != nil {
		t.Fatal(err)
	}
}

func TestACopyIsOpenedOnceItIsWholeAndIsANewIncarnation(t *testing.T) {
	store, log := mem.New(time.Now, nil), slog.New(slog.DiscardHandler)
	var unbound boundTo
	mark(t, store, segment.CopyBegun, 1)
	for _, writes := range []bool{true, false} {
		if _, _, err := Load(t.Context(), store, unbound, writes, log); !errors.Is(err, replica.ErrUnfinished) {
			t.Errorf("without a cluster object, writes %v: %v", writes, err)
		}
	}
	if n := len(store.ListNow("")); n != 1 {
		t.Fatalf("%d objects: a node wrote to an unfinished copy", n)
	}
	original := segment.ID{1}
	b, err := segment.EncodeCluster(segment.Cluster{ID: original, Format: 1, Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(segment.ClusterKey, b)
	mark(t, store, segment.CopyDone, 1)
	mark(t, store, segment.CopyBegun, 2)
	if _, err := Read(t.Context(), store); !errors.Is(err, replica.ErrUnfinished) {
		t.Errorf("while a second run copies: %v", err)
	}
	mark(t, store, segment.CopyDone, 2)
	if _, folder, err := Load(t.Context(), store, boundTo(original), false, log); err != nil || folder != original {
		t.Errorf("a node that only reads: %v, %v", folder, err)
	}
	if _, _, err := Load(t.Context(), store, boundTo(original), true, log); !errors.Is(err, errBound) {
		t.Errorf("a node that writes, with the folder of the bucket that was copied: %v", err)
	}
	c, incarnation, err := Load(t.Context(), store, unbound, true, log)
	if err != nil || c.ID != original || incarnation == original || incarnation.IsZero() {
		t.Fatalf("%v, %v, %v", c, incarnation, err)
	}
	for _, writes := range []bool{true, false} {
		if _, folder, err := Load(t.Context(), store, boundTo(incarnation), writes, log); err != nil || folder != incarnation {
			t.Errorf("the next start: %v, %v", folder, err)
		}
		if _, _, err := Load(t.Context(), store, boundTo(original), writes, log); !errors.Is(err, errBound) {
			t.Errorf("the folder of the bucket that was copied: %v", err)
		}
	}
}
