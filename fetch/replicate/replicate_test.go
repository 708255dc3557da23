package replicate_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/fetch/offline"
	"github.com/varvelog/varve/fetch/replicate"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/replica"
	"github.com/varvelog/varve/tiering/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a bucket whose metadata journal a leader has begun.
func source(t *testing.T, fault func(mem.Call) mem.Action) *mem.Store {
	t.Helper()
	var watched func(mem.Call) mem.Action
	var one sync.Mutex // a copy makes several calls at once
	store := mem.New(time.Now, func(c mem.Call) mem.Action {
		one.Lock()
		defer one.Unlock()
		if watched != nil {
			return watched(c)
		}
		return mem.Action{}
	})
	cluster := segment.ID{1}
	b, err := segment.EncodeCluster(segment.Cluster{ID: cluster, Format: 1, Window: 4, CreatedMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	store.PutNow(segment.ClusterKey, b)
	leader := metadata.StartLeader(metadata.LeaderOptions{
		Store: store, State: metadata.New(), Log: slog.New(slog.DiscardHandler), Defaults: metadata.Defaults{Partitions: 1, ReplicationFactor: 1},
		Committed: func(*journal.Object) {},
		Journal: journal.Config{
			Chain: journal.NewChain(cluster, 0, 4), Node: segment.NewID(), Incarnation: segment.NewID(), NewID: segment.NewID, NowMs: func() int64 { return 1 },
		},
	})
	<-leader.Ready()
	leader.Close()
	watched = fault
	return store
}

func copyTo(t *testing.T, from, to *mem.Store) (*replicate.Result, error) {
	t.Helper()
	b, err := offline.Open(t.Context(), from, offline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return replicate.New(replicate.Options{
		Source: from, Target: to, Bucket: b, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}).Run(t.Context())
}

func TestAnObjectThatIsGoneBeginsAnotherPlan(t *testing.T) {
	gone := 0
	copying := false
	from := source(t, func(c mem.Call) mem.Action {
		if copying = copying || strings.HasPrefix(c.Key, segment.HoldPrefix); copying && c.Op == objstore.OpGet && c.Key == segment.JournalKey(0, 4) && gone == 0 {
			gone++
			return mem.Missing()
		}
		return mem.Action{}
	})
	to := mem.New(time.Now, nil)
	r, err := copyTo(t, from, to)
	if err != nil || gone != 1 {
		t.Fatalf("%+v, %v, %d gone", r, err, gone)
	}
	for _, i := range from.ListNow("journals/") {
		if _, ok := to.GetNow(i.Key); !ok {
			t.Errorf("the copy has no %s", i.Key)
		}
	}
	if n := len(from.ListNow(segment.HoldPrefix)); n != 0 {
		t.Errorf("%d holds are left", n)
	}
}

func TestASourceThatMayOnlyBeReadIsCopied(t *testing.T) {
	from := source(t, func(c mem.Call) mem.Action {
		if c.Op == objstore.OpCreate || c.Op == objstore.OpDelete {
			return mem.FailBefore(objstore.ErrDenied)
		}
		return mem.Action{}
	})
	if r, err := copyTo(t, from, mem.New(time.Now, nil)); err != nil || r.Copied == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestACopyThatFailsIsNotWholeAndGoesOn(t *testing.T) {
	full := true
	to := mem.New(time.Now, func(c mem.Call) mem.Action {
		if full && c.Op == objstore.OpCreate && c.Key == segment.JournalKey(0, 3) {
			return mem.FailBefore(objstore.ErrFull)
		}
		return mem.Action{}
	})
	from := source(t, nil)
	if _, err := copyTo(t, from, to); !errors.Is(err, objstore.ErrFull) {
		t.Fatal(err)
	}
	if _, err := offline.Open(t.Context(), to, offline.Options{}); !errors.Is(err, replica.ErrUnfinished) && !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("an unfinished copy is opened: %v", err)
	}
	full = false
	if r, err := copyTo(t, from, to); err != nil || r.Number != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAFloorThatIsNewerThanTheHeadIsNotCopied: the copy would begin above its own end.
func TestAFloorThatIsNewerThanTheHeadIsNotCopied(t *testing.T) {
	from := source(t, nil)
	floor, err := segment.EncodeFloor(segment.Floor{
		Journal: 0, N: 1, Floor: 1001, Checkpoint: segment.CheckpointKey(0, segment.Ref{Seq: 1000, Object: segment.ID{7}}),
		Hash: [32]byte{6}, Object: segment.ID{8}, Cluster: segment.ID{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	lists := 0
	to := mem.New(time.Now, func(c mem.Call) mem.Action {
		if c.Op == objstore.OpList && c.Key == "" {
			if lists++; lists == 2 { // the first one is before the hold, this one after the proof of the heads
				from.PutNow(segment.FloorKey(0, 1), floor)
			}
		}
		return mem.Action{}
	})
	if _, err := copyTo(t, from, to); err != nil {
		t.Fatal(err)
	}
	if _, ok := to.GetNow(segment.FloorKey(0, 1)); ok {
		t.Error("the copy has a floor that its journal did not plan")
	}
}
