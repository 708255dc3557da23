package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

func ring(store objstore.Store, role segment.PeerRole, seed uint64) *Keys {
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	var mu sync.Mutex
	return NewKeys(KeysOptions{
		Store: store, Cluster: id(9), Role: role, Random: rng, Now: func() time.Time { return time.UnixMilli(1) },
		NewID: func() (n segment.ID) {
			mu.Lock()
			defer mu.Unlock()
			rng.Read(n[:])
			return n
		},
	})
}

// Nodes that start at the same time on a bucket without keys get the same key, whatever
// answers are lost.
func TestOneFirstKey(t *testing.T) {
	rng, lose := rand.New(rand.NewPCG(seeded.Seed(t), 0)), true
	var mu sync.Mutex
	store := mem.New(func() time.Time { return time.UnixMilli(1) }, func(c mem.Call) (a mem.Action) {
		mu.Lock()
		defer mu.Unlock()
		if lose && c.Op == objstore.OpCreate && rng.IntN(3) == 0 {
			return mem.ReplyLost()
		}
		return a
	})
	nodes := make([]*Keys, 8)
	var wg sync.WaitGroup
	for i := range nodes {
		nodes[i] = ring(store, segment.PeerIngest, uint64(i))
		wg.Go(func() {
			if err := nodes[i].Ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want, err := nodes[0].Newest()
	if err != nil || want.Number != 1 {
		t.Fatalf("key %d, error %v", want.Number, err)
	}
	for i, k := range nodes {
		if got, err := k.Newest(); err != nil || got != want {
			t.Errorf("node %d has another key: %v", i, err)
		}
	}
}

func TestARotatedKeyIsAcceptedOnce(t *testing.T) {
	store := mem.New(func() time.Time { return time.UnixMilli(1) }, nil)
	one, two := ring(store, segment.PeerFetch, 1), ring(store, segment.PeerFetch, 2)
	if _, err := one.Newest(); !errors.Is(err, ErrNoKey) {
		t.Fatalf("a key of nothing: %v", err)
	}
	for _, step := range []func(context.Context) error{one.Ensure, two.Load, one.Rotate} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old, _ := two.Newest()
	if newest, err := one.Newest(); err != nil || newest.Number != 2 || newest.Secret == old.Secret {
		t.Fatalf("after the rotation: key %d, the same secret %v, error %v", newest.Number, newest.Secret == old.Secret, err)
	}
	if got, err := one.Accepted(1); err != nil || got != old {
		t.Errorf("the key before is not accepted: %v", err)
	}
	if _, err := two.Accepted(2); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key that was not read: %v", err)
	}
	for _, step := range []func(context.Context) error{two.Load, two.Rotate, one.Load} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := one.Accepted(1); !errors.Is(err, ErrNoKey) {
		t.Errorf("the key before the last is accepted: %v", err)
	}
	if other := ring(store, segment.PeerIngest, 3); other.Load(t.Context()) != nil || other.next() != 1 {
		t.Error("the other role has keys of this one")
	}
}

func TestADamagedOrForeignKeyIsAnError(t *testing.T) {
	for name, change := range map[string]func(*segment.PeerKey){
		"another cluster": func(k *segment.PeerKey) { k.Cluster = id(77) },
		"another role":    func(k *segment.PeerKey) { k.Role = segment.PeerFetch },
		"another number":  func(k *segment.PeerKey) { k.Number = 2 },
		"damage":          nil,
	} {
		store := mem.New(func() time.Time { return time.UnixMilli(1) }, nil)
		k := segment.PeerKey{Cluster: id(9), Object: id(1), Role: segment.PeerIngest, Number: 1, Secret: [32]byte{1}}
		if change != nil {
			change(&k)
		}
		b, err := segment.EncodePeerKey(k)
		if err != nil {
			t.Fatal(err)
		}
		if change == nil {
			b[70] ^= 1
		}
		if err := store.Create(t.Context(), segment.PeerKeyKey(segment.PeerIngest, 1), objstore.Plain(b)); err != nil {
			t.Fatal(err)
		}
		if err := ring(store, segment.PeerIngest, 1).Ensure(t.Context()); !errors.Is(err, segment.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
