package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// Keys are the keys of one role in the bucket. They may be used by several goroutines.
type Keys struct {
	opt KeysOptions

	mu    sync.Mutex
	known []segment.PeerKey // by number, from the one before the newest on
}

// KeysOptions are the surroundings of Keys. All fields are required.
type KeysOptions struct {
	Store   objstore.Store
	Cluster segment.ID
	Role    segment.PeerRole
	Random  io.Reader
	NewID   func() segment.ID
	Now     func() time.Time
}

// ErrNoKey: the bucket has no key of the role, or none of the number.
var ErrNoKey = errors.New("no such peer key")

// accepted is how many keys of a role are accepted: the newest one, and the one that it
// replaced, until all nodes have read the newest.
const accepted = 2

// NewKeys returns Keys that have read nothing yet.
func NewKeys(opt KeysOptions) *Keys { return &Keys{opt: opt} }

// Load reads the keys that were created since the last call.
func (k *Keys) Load(ctx context.Context) error {
	for {
		key, err := k.read(ctx, k.next())
		switch {
		case errors.Is(err, objstore.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		k.add(key)
	}
}

// Ensure loads the keys, and creates the first one if there is none.
func (k *Keys) Ensure(ctx context.Context) error {
	if err := k.Load(ctx); err != nil || k.next() > 1 {
		return err
	}
	return k.create(ctx, 1)
}

// Rotate creates the next key. If another node does so at the same time, theirs is taken.
func (k *Keys) Rotate(ctx context.Context) error {
	if err := k.Load(ctx); err != nil {
		return err
	}
	return k.create(ctx, k.next())
}

// create creates a key, or takes the one that another node has created since.
func (k *Keys) create(ctx context.Context, number uint64) error {
	key := segment.PeerKey{Cluster: k.opt.Cluster, Object: k.opt.NewID(), Role: k.opt.Role, Number: number, CreatedMs: k.opt.Now().UnixMilli()}
	if _, err := io.ReadFull(k.opt.Random, key.Secret[:]); err != nil {
		return fmt.Errorf("draw a peer key: %w", err)
	}
	b, err := segment.EncodePeerKey(key)
	if err != nil {
		return err
	}
	name := segment.PeerKeyKey(k.opt.Role, number)
	createErr := k.opt.Store.Create(ctx, name, objstore.Plain(b))
	got, err := k.read(ctx, number) // an answer may be lost, and another node may have been first
	switch {
	case err == nil:
		k.add(got)
		return nil
	case createErr != nil:
		return fmt.Errorf("create %s: %w", name, createErr)
	}
	return err
}

func (k *Keys) read(ctx context.Context, number uint64) (segment.PeerKey, error) {
	name := segment.PeerKeyKey(k.opt.Role, number)
	b, err := k.opt.Store.Get(ctx, name)
	if err != nil {
		return segment.PeerKey{}, fmt.Errorf("read %s: %w", name, err)
	}
	key, err := segment.DecodePeerKey(b)
	if err == nil && (key.Cluster != k.opt.Cluster || key.Role != k.opt.Role || key.Number != number) {
		err = fmt.Errorf("%w: it is key %d of role %s in cluster %s", segment.ErrCorrupt, key.Number, key.Role, key.Cluster.Base64())
	}
	if err != nil {
		return segment.PeerKey{}, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

// next is the number of the next key.
func (k *Keys) next() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) == 0 {
		return 1
	}
	return k.known[len(k.known)-1].Number + 1
}

// add takes a key that was read. Another goroutine may have read it before.
func (k *Keys) add(key segment.PeerKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.known); n > 0 && key.Number <= k.known[n-1].Number {
		return
	}
	k.known = append(k.known, key)
	k.known = k.known[max(0, len(k.known)-accepted):]
}

// Newest returns the key for new connections.
func (k *Keys) Newest() (segment.PeerKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) == 0 {
		return segment.PeerKey{}, fmt.Errorf("%w: role %s has none", ErrNoKey, k.opt.Role)
	}
	return k.known[len(k.known)-1], nil
}

// Accepted returns the key of a number, if connections may still use it.
func (k *Keys) Accepted(number uint64) (segment.PeerKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.known {
		if key.Number == number {
			return key, nil
		}
	}
	return segment.PeerKey{}, fmt.Errorf("%w: number %d of role %s is not accepted", ErrNoKey, number, k.opt.Role)
}
