package node

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

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
	if _, err := loadCluster(t.Context(), store, false, log); !errors.Is(err, errNoCluster) {
		t.Fatalf("a node that only reads, before there is a cluster: %v", err)
	}
	made, err := loadCluster(t.Context(), store, true, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flips int
		want  error
	}{{0, nil}, {clusterReads - 1, nil}, {clusterReads, segment.ErrCorrupt}} {
		flips = tc.flips
		got, err := loadCluster(t.Context(), store, false, log)
		if !errors.Is(err, tc.want) || err == nil && got != made {
			t.Errorf("%d damaged reads: %+v, %v, want %+v, %v", tc.flips, got, err, made, tc.want)
		}
		flips = 0
	}
}
