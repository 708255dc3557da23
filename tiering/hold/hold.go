// Package hold pauses the deletion of objects while a backup reads a bucket.
//
// It owns the objects below holds/, each of which is one hold. It promises that a hold
// that was placed is listed by the store, so that each round of deletions that begins
// later finds it. A hold that cannot be read counts as one without an end. So does a
// failed look at the holds: its caller must not delete.
//
// A hold ends by itself, so that a backup that died holds up nothing for good. A reader
// places it first, and proves the heads of the journals then. Objects that these name are
// released after that, and a round that deletes them begins later still.
package hold

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/segment"
)

// margin is how far the clocks of those who place holds, and of those who delete, may
// be apart: a hold counts for so much longer.
const margin = 5 * time.Minute

// errSeen ends a listing.
var errSeen = errors.New("seen")

// ErrNotListed is a store that does not list an object that it has just stored. A hold
// there may be overlooked.
var ErrNotListed = errors.New("the store does not list the hold that it has stored")

// Place stores a hold. An error means that nothing is held, or that this is not known.
func Place(ctx context.Context, store objstore.Store, h segment.Hold) error {
	b, err := segment.EncodeHold(h)
	if err != nil {
		return err
	}
	key := segment.HoldKey(h.Object)
	if err := store.Create(ctx, key, objstore.Plain(b)); err != nil {
		got, getErr := store.Get(ctx, key)
		if getErr != nil || string(got) != string(b) {
			return fmt.Errorf("place hold %s: %w", key, err)
		}
	}
	err = store.List(ctx, key, "", func(i objstore.Info) error {
		if i.Key == key {
			return errSeen
		}
		return nil
	})
	switch {
	case err == nil:
		return fmt.Errorf("place hold %s: %w", key, ErrNotListed)
	case !errors.Is(err, errSeen):
		return fmt.Errorf("place hold %s: %w", key, err)
	}
	return nil
}

// Release gives a hold up.
func Release(ctx context.Context, store objstore.Store, object segment.ID) error {
	if err := store.Delete(ctx, segment.HoldKey(object)); err != nil {
		return fmt.Errorf("release hold %s: %w", object, err)
	}
	return nil
}

// Held is a hold as it was found.
type Held struct {
	segment.Hold
	Err error // why it cannot be read; only the object id is known
}

// List returns all holds, those that have ended too.
func List(ctx context.Context, store objstore.Store, cluster segment.ID) ([]Held, error) {
	var ids []segment.ID
	err := store.List(ctx, segment.HoldPrefix, "", func(i objstore.Info) error {
		if id, ok := segment.ParseHoldKey(i.Key); ok { // else it is no object of varve's
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	var found []Held
	for _, id := range ids {
		h, err := read(ctx, store, cluster, id)
		if errors.Is(err, objstore.ErrNotFound) {
			continue // given up since
		}
		h.Object = id
		found = append(found, Held{h, err})
	}
	return found, nil
}

func read(ctx context.Context, store objstore.Store, cluster, id segment.ID) (segment.Hold, error) {
	b, err := store.Get(ctx, segment.HoldKey(id))
	if err != nil {
		return segment.Hold{}, err
	}
	h, err := segment.DecodeHold(b)
	switch {
	case err != nil:
		return segment.Hold{}, err
	case h.Object != id || h.Cluster != cluster:
		return segment.Hold{}, fmt.Errorf("%w: it is hold %s of cluster %s", segment.ErrCorrupt, h.Object, h.Cluster.Base64())
	}
	return h, nil
}

// Active returns the holds for which nothing may be deleted now, in the order of their
// ids. One that cannot be read is among them, and has no end. After an error nothing may
// be deleted either. Call it before each round of deletions.
func Active(ctx context.Context, store objstore.Store, cluster segment.ID, now time.Time) ([]segment.Hold, error) {
	found, err := List(ctx, store, cluster)
	if err != nil {
		return nil, err
	}
	var active []segment.Hold
	for _, h := range found {
		if h.Err != nil {
			h.Hold = segment.Hold{Cluster: cluster, Object: h.Object, UntilMs: math.MaxInt64, Reason: "cannot be read: " + h.Err.Error()}
		}
		if !Ended(h.Hold, now) {
			active = append(active, h.Hold)
		}
	}
	return active, nil
}

// Ended reports whether the end of a hold has passed on all clocks.
func Ended(h segment.Hold, now time.Time) bool {
	return h.UntilMs < now.Add(-margin).UnixMilli()
}
