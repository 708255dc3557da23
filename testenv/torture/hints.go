package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/testenv/miniod"
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
type bucket struct{ client *minio.Client }

func openBucket(address string) (bucket, error) {
	client, err := minio.New(address, &minio.Options{
		Creds:     credentials.NewStaticV4(miniod.AccessKey, miniod.SecretKey, ""),
		Transport: &http.Transport{DisableKeepAlives: true}, // no connection may outlive the round
	})
	return bucket{client}, err
}

func (b bucket) get(ctx context.Context, key string) ([]byte, error) {
	o, err := b.client.GetObject(ctx, bucketName, bucketPrefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

func (b bucket) list(ctx context.Context, prefix string) (keys []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := minio.ListObjectsOptions{Prefix: bucketPrefix + prefix, Recursive: true}
	for o := range b.client.ListObjects(ctx, bucketName, options) {
		if o.Err != nil {
			return nil, o.Err
		}
		keys = append(keys, strings.TrimPrefix(o.Key, bucketPrefix))
	}
	return keys, nil
}

// floors reads the floors of the data journal.
func (b bucket) floors(ctx context.Context) (all []segment.Floor, err error) {
	keys, err := b.list(ctx, segment.FloorPrefix(dataJournal))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		data, err := b.get(ctx, key)
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
		data, err := b.get(ctx, segment.JournalKey(dataJournal, seq))
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
	keys, err := b.list(ctx, segment.CheckpointPrefix(dataJournal))
	for _, key := range keys {
		if named[key] {
			continue
		}
		if err := b.client.RemoveObject(ctx, bucketName, bucketPrefix+key, minio.RemoveObjectOptions{}); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, err
}
