package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

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
	out, err := s.reads.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	size := int64(-1)
	if out.ContentLength != nil {
		size = *out.ContentLength
	}
	return s3http.ReadBody(key, out.Body, size)
}

// GetRange implements objstore.Store.
func (s *Store) GetRange(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	if err := objstore.CheckRange(key, offset, length); err != nil {
		return nil, err
	}
	data, part, err := s.getPart(ctx, key, s3http.Range(offset, length))
	if err == nil {
		err = part.CheckRange(len(data), offset, length)
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
	data, part, err := s.getPart(ctx, key, s3http.Tail(n))
	if status, _ := answerOf(err); status == http.StatusRequestedRangeNotSatisfiable {
		if data, err = s.get(ctx, key); len(data) > 0 {
			err = fmt.Errorf("store refused a range of an object of %d bytes", len(data))
		}
	}
	if err == nil {
		err = part.CheckTail(len(data), n)
	}
	if err != nil {
		return nil, 0, s.explain("get", key, err)
	}
	return data, part.Size, nil
}

// getPart sends one GET with a Range header and returns what came of which
// part.
func (s *Store) getPart(ctx context.Context, key, byteRange string) ([]byte, s3http.Part, error) {
	out, err := s.reads.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket, Key: aws.String(s.prefix + key), Range: &byteRange,
	})
	if err != nil {
		return nil, s3http.Part{}, err
	}
	defer out.Body.Close()
	part, err := s3http.ParseContentRange(aws.ToString(out.ContentRange))
	if err != nil {
		return nil, s3http.Part{}, err
	}
	data, err := s3http.ReadBody(key, out.Body, part.Last-part.First+1)
	return data, part, err
}
