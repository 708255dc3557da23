package objstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// MaxBatch is the most objects that one request deletes.
const MaxBatch = 1000

// Batcher is a Store that deletes many objects in one request. DeleteAll uses it.
type Batcher interface {
	// DeleteBatch removes the objects of 1 to MaxBatch keys in one request. The first
	// result has the outcome for each key: nil only if the answer names the key as
	// deleted or missing. Its error is that of the whole request, after which nothing is
	// known about any key. After errors.ErrUnsupported nothing was deleted: the store
	// takes no such request.
	DeleteBatch(ctx context.Context, keys []string) ([]error, error)
}

// DeleteAll removes objects, in batches where the store takes them, and one by one
// elsewhere. It returns the outcome for each key, as Delete would: nil means that the
// store answered for this very key, and a missing object is not an error.
func DeleteAll(ctx context.Context, store Store, keys []string) []error {
	outcomes := make([]error, 0, len(keys))
	batcher, batches := store.(Batcher)
	for chunk := range slices.Chunk(keys, MaxBatch) {
		var some []error
		err := errors.ErrUnsupported
		if batches {
			some, err = batcher.DeleteBatch(ctx, chunk)
		}
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			batches = false
			for _, key := range chunk {
				outcomes = append(outcomes, store.Delete(ctx, key))
			}
			continue
		case err == nil && len(some) != len(chunk):
			err = fmt.Errorf("%d outcomes for %d keys", len(some), len(chunk))
		}
		if err != nil {
			some = slices.Repeat([]error{err}, len(chunk))
		}
		outcomes = append(outcomes, some...)
	}
	return outcomes
}

// CheckBatch returns an error unless the objects of keys may be deleted in one request.
func CheckBatch(keys []string) error {
	if n := len(keys); n < 1 || n > MaxBatch {
		return fmt.Errorf("delete %d objects in one request: give 1 to %d", n, MaxBatch)
	}
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return err
		}
	}
	return nil
}
