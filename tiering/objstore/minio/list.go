package minio

import (
	"context"
	"errors"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	opts := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}
	if startAfter != "" {
		opts.StartAfter = s.prefix + startAfter
	}
	listing := s3http.Listing{StorePrefix: s.prefix, Prefix: prefix, Last: startAfter}
	for object := range s.reads.ListObjectsIter(ctx, s.bucket, opts) {
		if object.Err != nil {
			return s.explain("list", prefix, object.Err)
		}
		key, err := listing.Next(object.Key)
		if err != nil {
			return s.explain("list", prefix, err)
		}
		if err := fn(objstore.Info{Key: key, Size: object.Size, Modified: object.LastModified}); err != nil {
			return err
		}
	}
	// The SDK ends the listing without a word when the context has ended.
	if err := ctx.Err(); err != nil {
		return s.explain("list", prefix, err)
	}
	return nil
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	err := s.reads.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	if err != nil && !errors.Is(classify(err), objstore.ErrNotFound) {
		return s.explain("delete", key, err)
	}
	return nil
}
