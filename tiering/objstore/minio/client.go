package minio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

const checksumHeader = "x-amz-checksum-crc32c"

// client implements s3http.Client.
type client struct {
	bucket, region string

	commits minio.Core // for Put: sends once
	reads   minio.Core // for all else
}

// Put implements s3http.Client.
//
// Core.PutObject is the SDK's one PUT below its conveniences. Client.PutObject
// refuses a checksum header unless TrailingHeaders is set, and then adds headers of
// its own.
func (c *client) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum string) (etag, confirmed string, err error) {
	opts := minio.PutObjectOptions{
		UserMetadata:         map[string]string{checksumHeader: sum},
		DisableContentSha256: true,
		DisableMultipart:     true,
	}
	opts.SetMatchETagExcept("*") // If-None-Match: *
	info, err := c.commits.PutObject(ctx, c.bucket, name, body, size, "", "", opts)
	return info.ETag, info.ChecksumCRC32C, err
}

// Get implements s3http.Client.
func (c *client) Get(ctx context.Context, name, byteRange string) (s3http.Body, error) {
	opts := minio.GetObjectOptions{}
	if byteRange != "" {
		opts.Set("Range", byteRange)
	}
	body, info, header, err := c.reads.GetObject(ctx, c.bucket, name, opts)
	if err != nil {
		return s3http.Body{}, err
	}
	return s3http.Body{ReadCloser: body, Size: info.Size, ContentRange: header.Get("Content-Range")}, nil
}

// Objects implements s3http.Client.
func (c *client) Objects(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Info, error] {
	opts := minio.ListObjectsOptions{Prefix: prefix, StartAfter: startAfter, Recursive: true}
	return func(yield func(objstore.Info, error) bool) {
		for object := range c.reads.ListObjectsIter(ctx, c.bucket, opts) {
			info := objstore.Info{Key: object.Key, Size: object.Size, Modified: object.LastModified}
			if !yield(info, object.Err) || object.Err != nil {
				return
			}
		}
		// The SDK ends the listing without an error when the context has ended.
		if err := ctx.Err(); err != nil {
			yield(objstore.Info{}, err)
		}
	}
}

// Remove implements s3http.Client.
func (c *client) Remove(ctx context.Context, name string) error {
	return c.reads.RemoveObject(ctx, c.bucket, name, minio.RemoveObjectOptions{})
}

// RemoveAll implements s3http.Client. The SDK passes some errors over: an object that it
// does not name has no outcome.
func (c *client) RemoveAll(ctx context.Context, names []string) ([]s3http.Removal, error) {
	objects := func(yield func(minio.ObjectInfo) bool) {
		for _, name := range names {
			if !yield(minio.ObjectInfo{Key: name}) {
				return
			}
		}
	}
	results, err := c.reads.RemoveObjectsWithIter(ctx, c.bucket, objects, minio.RemoveObjectsOptions{})
	if err != nil {
		return nil, err
	}
	var removals []s3http.Removal
	for result := range results {
		removal := s3http.Removal{Name: result.ObjectName}
		if result.Err != nil {
			var said minio.ErrorResponse
			if !errors.As(result.Err, &said) || said.StatusCode != 0 || said.Code == "" {
				return nil, result.Err // of the request, and not of this object
			}
			removal.Code, removal.Message = said.Code, said.Message
		}
		removals = append(removals, removal)
	}
	return removals, ctx.Err() // the SDK passes over an ended context
}

// BucketExists implements s3http.Client.
func (c *client) BucketExists(ctx context.Context) (bool, error) {
	return c.reads.BucketExists(ctx, c.bucket)
}

// MakeBucket implements s3http.Client.
func (c *client) MakeBucket(ctx context.Context) error {
	return c.reads.MakeBucket(ctx, c.bucket, minio.MakeBucketOptions{Region: c.region})
}

// Answer implements s3http.Client.
func (c *client) Answer(err error) s3http.Answer {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		return s3http.Answer{}
	}
	note := fmt.Sprintf("status %d, code %s", answer.StatusCode, answer.Code)
	// The SDK makes up NoSuchKey for any 404 without an S3 error in its body, as
	// proxies send it. Only a parsed error has the name of its element.
	if answer.XMLName.Local != "Error" {
		answer.Code = ""
	}
	return s3http.Answer{Status: answer.StatusCode, Code: answer.Code, Note: note}
}
