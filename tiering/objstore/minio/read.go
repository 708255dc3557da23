package minio

import (
	"context"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := objstore.CheckKey(key); err != nil {
		return nil, err
	}
	data, err := s.get(ctx, key)
	if err != nil {
		return nil, s.explain("get", key, err)
	}
	return data, nil
}

func (s *Store) get(ctx context.Context, key string) ([]byte, error) {
	body, info, _, err := s.reads.GetObject(ctx, s.bucket, s.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return s3http.ReadBody(key, body, info.Size)
}

// GetRange implements objstore.Store.
func (s *Store) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := objstore.CheckRange(key, offset, length); err != nil {
		return nil, err
	}
	data, got, err := s.getRange(ctx, key, s3http.Range(offset, length))
	if err == nil {
		err = got.CheckRange(len(data), offset, length)
	}
	if err != nil {
		return nil, s.explain("get", key, err)
	}
	return data, nil
}

// GetTail implements objstore.Store. On S3 it takes a second request when the
// object is empty, because there is no range in an empty object.
func (s *Store) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := objstore.CheckRange(key, 0, n); err != nil {
		return nil, 0, err
	}
	data, got, err := s.getRange(ctx, key, s3http.Tail(n))
	if answerOf(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		if data, err = s.get(ctx, key); len(data) > 0 {
			err = fmt.Errorf("store refused a range of an object of %d bytes", len(data))
		}
	}
	if err == nil {
		err = got.CheckTail(len(data), n)
	}
	if err != nil {
		return nil, 0, s.explain("get", key, err)
	}
	return data, got.Size, nil
}

// getRange sends one GET with a Range header and returns what came of which
// part.
func (s *Store) getRange(ctx context.Context, key, byteRange string) ([]byte, s3http.Part, error) {
	opts := minio.GetObjectOptions{}
	opts.Set("Range", byteRange)
	body, _, header, err := s.reads.GetObject(ctx, s.bucket, s.prefix+key, opts)
	if err != nil {
		return nil, s3http.Part{}, err
	}
	defer body.Close()
	got, err := s3http.ParseContentRange(header.Get("Content-Range"))
	if err != nil {
		return nil, s3http.Part{}, err
	}
	data, err := s3http.ReadBody(key, body, got.Last-got.First+1)
	return data, got, err
}
