package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// List implements objstore.Store.
func (s *Store) List(ctx context.Context, prefix, startAfter string, fn func(objstore.Info) error) error {
	query := &s3.ListObjectsV2Input{
		Bucket: &s.bucket,
		Prefix: aws.String(s.prefix + prefix),
		// XML has no form for some characters that a key may have.
		EncodingType: types.EncodingTypeUrl,
	}
	if startAfter != "" {
		query.StartAfter = aws.String(s.prefix + startAfter)
	}
	listing := &s3http.Listing{StorePrefix: s.prefix, Prefix: prefix, Last: startAfter}
	for {
		page, err := s.reads.ListObjectsV2(ctx, query)
		if err != nil {
			return s.explain("list", prefix, err)
		}
		for _, object := range page.Contents {
			info, err := infoOf(object, page.EncodingType, listing)
			if err != nil {
				return s.explain("list", prefix, err)
			}
			if err := fn(info); err != nil {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return nil
		}
		if aws.ToString(page.NextContinuationToken) == "" {
			return s.explain("list", prefix, errors.New("store listed a part and no mark to go on from"))
		}
		query.ContinuationToken = page.NextContinuationToken
	}
}

// infoOf checks one entry of a listing.
func infoOf(object types.Object, encoding types.EncodingType, listing *s3http.Listing) (objstore.Info, error) {
	name := aws.ToString(object.Key)
	if encoding == types.EncodingTypeUrl {
		decoded, err := url.QueryUnescape(name)
		if err != nil {
			return objstore.Info{}, fmt.Errorf("store listed %q: %w", name, err)
		}
		name = decoded
	}
	key, err := listing.Next(name)
	if err != nil {
		return objstore.Info{}, err
	}
	if object.Size == nil {
		return objstore.Info{}, fmt.Errorf("store listed %q without its size", name)
	}
	return objstore.Info{Key: key, Size: *object.Size, Modified: aws.ToTime(object.LastModified)}, nil
}

// Delete implements objstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := objstore.CheckKey(key); err != nil {
		return err
	}
	_, err := s.reads.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: aws.String(s.prefix + key)})
	if err != nil && !errors.Is(classify(err), objstore.ErrNotFound) {
		return s.explain("delete", key, err)
	}
	return nil
}
