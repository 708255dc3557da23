package objstore

import (
	"context"
	"errors"
	"fmt"
)

// probeDeleted is how many objects the probe deletes at once.
const probeDeleted = 4

// recreate tests that a deletion leaves nothing behind.
func (p *prober) recreate(ctx context.Context, key string) error {
	if err := p.createNew(ctx, key, probeData(key, 1)); err != nil {
		return err
	}
	if err := p.store.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete an object: %w", err)
	}
	if err := p.gone(ctx, key); err != nil {
		return err
	}
	if err := p.createNew(ctx, key, probeData(key, 2)); err != nil {
		return err
	}
	return p.refused(ctx, key, probeData(key, 3))
}

// gone tests that every kind of read reports a deleted object as missing.
func (p *prober) gone(ctx context.Context, key string) error {
	err := p.missing(ctx, key)
	if errors.Is(err, ErrUnsafe) {
		return unsafe("an object that was deleted can be read")
	}
	return err
}

// deleteAll tests that a deletion of many objects removes them, and no others, and takes a
// missing one for no error. A key of it can be created again.
func (p *prober) deleteAll(ctx context.Context, key string) error {
	name := func(i int) string { return fmt.Sprintf("%s/%d", key, i) }
	var keys []string
	for i := range probeDeleted + 1 {
		if err := p.createNew(ctx, name(i), probeData(name(i), 1)); err != nil {
			return err
		}
		keys = append(keys, name(i))
	}
	keys, kept := keys[:probeDeleted], keys[probeDeleted]
	for i, err := range DeleteAll(ctx, p.store, append(keys, name(probeDeleted+1))) {
		if err != nil {
			return fmt.Errorf("delete object %d of %d at once: %w", i+1, probeDeleted+1, err)
		}
	}
	for _, key := range keys {
		if err := p.gone(ctx, key); err != nil {
			return err
		}
	}
	if err := p.expect(ctx, kept, probeData(kept, 1)); err != nil {
		return err
	}
	return p.createNew(ctx, keys[0], probeData(keys[0], 2))
}
