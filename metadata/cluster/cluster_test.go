package cluster

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
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
	if _, err := Load(t.Context(), store, boundTo(segment.ID{9}), true, log); !errors.Is(err, errBound) || len(store.ListNow("")) > 0 {
		t.Fatalf("a data folder of another cluster: %v, the bucket has %v", err, store.ListNow(""))
	}
	var unbound boundTo
	if _, err := Load(t.Context(), store, unbound, false, log); !errors.Is(err, ErrNone) {
		t.Fatalf("a node that only reads, before there is a cluster: %v", err)
	}
	made, err := Load(t.Context(), store, unbound, true, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flips int
		want  error
	}{{0, nil}, {reads - 1, nil}, {reads, segment.ErrCorrupt}} {
		flips = tc.flips
		got, err := Load(t.Context(), store, unbound, false, log)
		if !errors.Is(err, tc.want) || err == nil && got != made {
			t.Errorf("%d damaged reads: %+v, %v, want %+v, %v", tc.flips, got, err, made, tc.want)
		}
		flips = 0
	}
}
