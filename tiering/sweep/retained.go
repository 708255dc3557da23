package sweep

import (
	"context"

	"github.com/varvelog/varve/tiering/objstore"
)

// Retained returns the bytes of the objects that were deleted since the Deleter began and
// that the bucket keeps as versions. It is 0 where a deletion frees the bytes.
func (d *Deleter) Retained() int64 { return d.retained.Load() }

// sizes returns the bytes of objects that are about to be deleted, where these stay. A list
// that cannot be had counts as nothing: it is only reported. Keys that follow each other in
// the bucket take one list.
func (d *Deleter) sizes(ctx context.Context, keys []string, follow bool) map[string]int64 {
	if !d.opt.Retains {
		return nil
	}
	sizes := make(map[string]int64, len(keys))
	list := func(prefix, first, last string) {
		_ = d.opt.Store.List(ctx, prefix, first[:len(first)-1], func(i objstore.Info) error {
			if i.Key > last {
				return errEnough
			}
			sizes[i.Key] = i.Size
			return nil
		})
	}
	if follow {
		list("", keys[0], keys[len(keys)-1])
		return sizes
	}
	for _, key := range keys {
		list(key, key, key)
	}
	return sizes
}
