package main

import (
	"context"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/testenv/miniod"
	"github.com/varvelog/varve/testenv/nodes"
	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	bucketName   = "torture"
	bucketPrefix = "events/"
	dataJournal  = 1
	hintsLimit   = 30 * time.Second
)

// bucket is direct access to the bucket, not through varve or the proxy.
type bucket struct{ nodes.Bucket }

func openBucket(address string) (bucket, error) {
	b, err := nodes.OpenBucket(address, miniod.AccessKey, miniod.SecretKey, bucketName, bucketPrefix)
	return bucket{b}, err
}

// floors reads the floors of the data journal.
func (b bucket) floors(ctx context.Context) (all []segment.Floor, err error) {
	keys, err := b.List(ctx, segment.FloorPrefix(dataJournal))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		data, err := b.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		floor, err := segment.DecodeFloor(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		all = append(all, floor)
	}
	return all, nil
}

// planned adds the checkpoints at which floors are planned, from seq on.
func (b bucket) planned(ctx context.Context, from uint64, named map[string]bool) error {
	for seq := from; ; seq++ {
		data, err := b.Get(ctx, segment.JournalKey(dataJournal, seq))
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			return nil
		}
		if err != nil {
			return err
		}
		o, err := segment.Decode(data)
		if err != nil {
			return err
		}
		index, err := journal.NewObject(o.Footer, o.Entries)
		if err != nil {
			return err
		}
		if index.Floor != nil {
			named[segment.CheckpointKey(dataJournal, index.Floor.At)] = true
		}
	}
}

// forgetHints removes all checkpoints but those that a floor names or will
// name: the others are hints. It must not run while the leader runs, and does
// nothing while the store is away.
func (c *cluster) forgetHints() (removed int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), hintsLimit)
	defer cancel()
	b, err := openBucket(c.store.Address())
	if err != nil {
		return 0, err
	}
	floors, err := b.floors(ctx)
	if err != nil {
		return 0, err
	}
	named, from := map[string]bool{}, uint64(1)
	for _, f := range floors {
		named[f.Checkpoint], from = true, f.Floor
	}
	if err := b.planned(ctx, from, named); err != nil {
		return 0, err
	}
	keys, err := b.List(ctx, segment.CheckpointPrefix(dataJournal))
	for _, key := range keys {
		if named[key] {
			continue
		}
		if err := b.Remove(ctx, key); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, err
}
