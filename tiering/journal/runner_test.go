package journal

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// heldStore answers one Get of a key late, and takes its time to say that there is none.
type heldStore struct {
	objstore.Store
	key  string
	hold atomic.Bool
}

func (s *heldStore) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := s.Store.Get(ctx, key)
	switch {
	case key == s.key && s.hold.CompareAndSwap(true, false):
		time.Sleep(time.Second)
	case err != nil:
		time.Sleep(2 * time.Second)
	}
	return b, err
}

// A leadership ends while it reads the floor. The journal is read on, with another read of
// the floor, which has come further when an answer to the first one arrives.
func TestReadsOfTheFloorMayOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &heldStore{Store: mem.New(time.Now, nil), key: segment.FloorKey(1, 2)}
		r := newRunner(store, 1)
		defer r.close()
		createFloor(t, store, 1, 10)
		r.Execute(GetFloor{})
		<-r.events
		createFloor(t, store, 2, 20)
		store.hold.Store(true)
		r.Execute(GetFloor{Token: 1})
		synctest.Wait()
		createFloor(t, store, 3, 30)
		r.Execute(GetFloor{Token: 2})
		for range 2 {
			if got := (<-r.events).(GotFloor); got.Err != nil || got.Floor != 30 {
				t.Errorf("read %d of the floor gives %d, %v; want 30", got.Token, got.Floor, got.Err)
			}
		}
	})
}

func createFloor(t *testing.T, store objstore.Store, n, floor uint64) {
	t.Helper()
	b, err := segment.EncodeFloor(segment.Floor{
		Journal: 1, N: n, Floor: floor, Checkpoint: segment.CheckpointKey(1, segment.Ref{Seq: floor - 1, Object: segment.ID{1}}), Hash: [32]byte{1}, Object: segment.ID{byte(n)}, Cluster: segment.ID{1},
	})
	if err == nil {
		err = store.Create(t.Context(), segment.FloorKey(1, n), objstore.Plain(b))
	}
	if err != nil {
		t.Fatal(err)
	}
}
