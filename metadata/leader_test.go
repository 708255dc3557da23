package metadata

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// startController starts one on a bucket, from its newest checkpoint.
func startController(t *testing.T, store *mem.Store, policy journal.CheckpointPolicy) *Leader {
	t.Helper()
	cfg := journal.Config{
		Chain: journal.NewChain(segment.ID{1}, 0, 4), Node: segment.ID{3}, Incarnation: segment.NewID(),
		NewID: segment.NewID, NowMs: func() int64 { return time.Now().UnixMilli() },
	}
	state := New()
	c, err := journal.LoadCheckpoint(t.Context(), store, cfg.Chain, nil)
	if err == nil && c != nil {
		cfg.Chain, cfg.History = c.Chain, c.History
		err = state.Restore(c.State)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := StartLeader(LeaderOptions{
		Store: store, Journal: cfg, State: state, Defaults: Defaults{Partitions: 1, ReplicationFactor: 1},
		Committed: func(*journal.Object) {}, Checkpoints: policy, Log: slog.New(slog.DiscardHandler),
	})
	select {
	case <-l.Ready():
	case <-l.Done():
		t.Fatal(l.Err())
	}
	return l
}

func TestAControllerMovesTheFloorAndStartsFromIt(t *testing.T) {
	store := mem.New(time.Now, nil)
	policy := journal.CheckpointPolicy{Every: 2, Most: 3, Behind: 1}
	l := startController(t, store, policy)
	topics := 0
	create := func() error {
		results := l.CreateTopics(t.Context(), []NewTopic{{Name: fmt.Sprintf("t%d", topics), Partitions: -1, ReplicationFactor: -1}}, false)
		if results[0].Err == nil {
			topics++
		}
		return results[0].Err
	}
	var floor segment.Floor
	for n := uint64(1); n < 3; n++ {
		b, ok := store.GetNow(segment.FloorKey(0, n))
		for ; !ok; b, ok = store.GetNow(segment.FloorKey(0, n)) {
			if err := create(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if floor, err = segment.DecodeFloor(b); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	for _, i := range store.ListNow(segment.CheckpointPrefix(0)) {
		if i.Key > floor.Checkpoint {
			store.DeleteNow(i.Key)
		}
	}
	l = startController(t, store, policy)
	if n := len(l.opt.State.Topics()); n != topics {
		t.Fatalf("%d topics after a start without hints, want %d", n, topics)
	}
	for taken := true; taken; { // the next floor is another controller's
		floor.N, floor.Floor, floor.Object = floor.N+1, 1<<20, segment.ID{66}
		b, err := segment.EncodeFloor(floor)
		if err != nil {
			t.Fatal(err)
		}
		taken = store.CreateNow(segment.FloorKey(0, floor.N), b) != nil
	}
	for create() == nil {
	}
	<-l.Done()
	if !errors.Is(l.Err(), journal.ErrFenced) {
		t.Fatalf("ended with %v, want %v", l.Err(), journal.ErrFenced)
	}
}
