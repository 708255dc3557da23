package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvelog/varve/cmd/internal/config"
	"github.com/varvelog/varve/cmd/internal/datadir"
	"github.com/varvelog/varve/cmd/internal/health"
	"github.com/varvelog/varve/metadata"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// slowFloors is a store that lets nobody know the floor for a while, as a process
// sees it that stands still between the end of the log and the floor.
type slowFloors struct {
	objstore.Store
	holding atomic.Bool
	asked   chan struct{} // holding, and a floor of journal 0 is asked for
	release chan struct{} // the answer waits for this
}

func (s *slowFloors) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, segment.FloorPrefix(0)) && s.holding.Load() {
		select {
		case s.asked <- struct{}{}:
		default:
		}
		select {
		case <-s.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Store.Get(ctx, key)
}

func TestAFollowerThatFallsBelowTheFloorBeginsAnew(t *testing.T) {
	store := mem.New(time.Now, nil)
	log := slog.New(slog.DiscardHandler)
	cluster, err := loadCluster(t.Context(), store, boundTo{}, true, log)
	if err != nil {
		t.Fatal(err)
	}
	leader := metadata.StartLeader(metadata.LeaderOptions{
		Store: store, State: metadata.New(), Log: log, Defaults: metadata.Defaults{Partitions: 1, ReplicationFactor: 1},
		Committed: func(*journal.Object) {},
		Journal: journal.Config{
			Chain: journal.NewChain(cluster.ID, 0, int(cluster.Window)), Node: segment.NewID(), Incarnation: segment.NewID(),
			NewID: segment.NewID, NowMs: func() int64 { return 1 },
		},
	})
	defer leader.Close()
	<-leader.Ready()

	slow := &slowFloors{Store: store, asked: make(chan struct{}, 1), release: make(chan struct{})}
	n := &node{
		cfg: config.Serve{NATS: config.NATS{Embedded: true}, Roles: []config.Role{config.RoleFetch}}, log: log, metrics: newMetrics(), board: health.NewBoard(log, time.Now),
		store: slow, cluster: cluster, incarnation: segment.NewID(), meta: metadata.New(), rivals: journal.NewRivals(), failed: make(chan error, 1),
	}
	var closers stack
	if n.dir, err = datadir.Open(t.TempDir(), segment.NewID); err != nil {
		t.Fatal(err)
	}
	closers.push(n.dir.Close)
	if err := n.openBus(&closers); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := closers.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := n.startJournals(t.Context(), &closers); err != nil {
		t.Fatal(err)
	}

	slow.holding.Store(true)
	<-slow.asked // it looks by itself, and finds nothing
	for i := range 3 {
		if res := leader.CreateTopics(t.Context(), []metadata.NewTopic{{Name: fmt.Sprintf("t%d", i), Partitions: 1, ReplicationFactor: 1}}, false); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
	}
	moveFloor(t, store, cluster)
	close(slow.release)
	for end := time.Now().Add(time.Minute); len(n.meta.Topics()) < 3; time.Sleep(time.Millisecond) {
		select {
		case err := <-n.failed:
			t.Fatal(err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the node knows %d topics at seq %d", len(n.meta.Topics()), n.meta.Head())
		}
	}
}

// moveFloor moves the floor of journal 0 to its head.
func moveFloor(t *testing.T, store objstore.Store, cluster segment.Cluster) {
	t.Helper()
	chain, state := journal.NewChain(cluster.ID, 0, int(cluster.Window)), metadata.New()
	for {
		o, err := journal.ReadObject(t.Context(), store, 0, chain.Next)
		if err != nil {
			break
		}
		verdict, err := chain.Check(&o.Footer.Header)
		if err == nil {
			err = state.Apply(o.Footer, o.Entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		chain.Advance(&o.Footer.Header, verdict)
	}
	writer := journal.NewCheckpointer(journal.CheckpointerOptions{NewID: segment.NewID})
	defer writer.Close()
	job := journal.CheckpointJob{Chain: chain, State: state.Encode()}
	if res := writer.Write(t.Context(), store, job); res.Err != nil {
		t.Fatal(res.Err)
	}
	key := segment.CheckpointKey(0, chain.Last)
	b, err := store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	floor, err := segment.EncodeFloor(segment.Floor{
		N: 1, Floor: chain.Next, Checkpoint: key, Hash: sha256.Sum256(b), Object: segment.NewID(), Cluster: cluster.ID,
	})
	if err == nil {
		err = store.Create(t.Context(), segment.FloorKey(0, 1), floor)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestABucketThatIsAwayDoesNotEndANodeThatReads: it goes on with what it has applied,
// and ends for what stays only.
func TestABucketThatIsAwayDoesNotEndANodeThatReads(t *testing.T) {
	f := &followers{node: &node{failed: make(chan error, 1)}}
	calls := 0
	f.insist(t.Context(), func(context.Context) error {
		if calls++; calls < 3 {
			return errors.New("no route to host")
		}
		return nil
	})
	if calls != 3 || len(f.node.failed) > 0 {
		t.Errorf("done %d times, %d errors ended the node", calls, len(f.node.failed))
	}
	f.insist(t.Context(), func(context.Context) error { return fmt.Errorf("journal 1: %w", journal.ErrBroken) })
	if len(f.node.failed) != 1 {
		t.Error("an error that stays does not end the node")
	}
}
