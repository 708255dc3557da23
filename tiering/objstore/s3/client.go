package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// client implements s3http.Client.
type client struct {
	bucket string

	commits *s3.Client // for Put: sends once
	reads   *s3.Client // for all else
}

// Put implements s3http.Client.
func (c *client) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum string) (etag, confirmed string, err error) {
	out, err := c.commits.PutObject(ctx, &s3.PutObjectInput{
		Bucket:         &c.bucket,
		Key:            &name,
		Body:           body,
		ContentLength:  &size,
		ChecksumCRC32C: &sum, // a checksum that is there keeps the SDK from adding one
		IfNoneMatch:    aws.String("*"),
	})
	if err != nil {
		return "", "", err
	}
	return aws.ToString(out.ETag), aws.ToString(out.ChecksumCRC32C), nil
}

// Get implements s3http.Client.
func (c *client) Get(ctx context.Context, name, byteRange string) (s3http.Body, error) {
	in := &s3.GetObjectInput{Bucket: &c.bucket, Key: &name}
	if byteRange != "" {
		in.Range = &byteRange
	}
	out, err := c.reads.GetObject(ctx, in)
	if err != nil {
		return s3http.Body{}, err
	}
	body := s3http.Body{ReadCloser: out.Body, Size: -1, ContentRange: aws.ToString(out.ContentRange)}
	if out.ContentLength != nil {
		body.Size = *out.ContentLength
	}
	return body, nil
}

// Objects implements s3http.Client.
func (c *client) Objects(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Info, error] {
	query := &s3.ListObjectsV2Input{
		Bucket: &c.bucket,
		Prefix: &prefix,
		// XML has no form for some characters that a key may have.
		EncodingType: types.EncodingTypeUrl,
	}
	if startAfter != "" {
		query.StartAfter = &startAfter
	}
	return func(yield func(objstore.Info, error) bool) {
		for {
			page, err := c.reads.ListObjectsV2(ctx, query)
			if err != nil {
				yield(objstore.Info{}, err)
				return
			}
			for _, object := range page.Contents {
				if info, err := infoOf(object, page.EncodingType); !yield(info, err) || err != nil {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			if aws.ToString(page.NextContinuationToken) == "" {
				yield(objstore.Info{}, errors.New("store listed a part and no mark to go on from"))
				return
			}
			query.ContinuationToken = page.NextContinuationToken
		}
	}
}

// infoOf reads one entry of a listing.
func infoOf(object types.Object, encoding types.EncodingType) (objstore.Info, error) {
	name := aws.ToString(object.Key)
	if encoding == types.EncodingTypeUrl {
		decoded, err := url.QueryUnescape(name)
		if err != nil {
			return objstore.Info{}, fmt.Errorf("store listed %q: %w", name, err)
		}
		name = decoded
	}
	if object.Size == nil {
		return objstore.Info{}, fmt.Errorf("store listed %q without its size", name)
	}
	return objstore.Info{Key: name, Size: *object.Size, Modified: aws.ToTime(object.LastModified)}, nil
}

// Remove implements s3http.Client.
func (c *client) Remove(ctx context.Context, name string) error {
	_, err := c.reads.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &c.bucket, Key: &name})
	return err
}

// RemoveAll implements s3http.Client.
func (c *client) RemoveAll(ctx context.Context, names []string) ([]s3http.Removal, error) {
	objects := make([]types.ObjectIdentifier, len(names))
	for i := range names {
		objects[i].Key = &names[i]
	}
	out, err := c.reads.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &c.bucket,
		Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(false)}, // each object is named
	})
	if err != nil {
		return nil, err
	}
	removals := make([]s3http.Removal, 0, len(names))
	for _, deleted := range out.Deleted {
		removals = append(removals, s3http.Removal{Name: aws.ToString(deleted.Key)})
	}
	for _, failed := range out.Errors {
		code := aws.ToString(failed.Code)
		if code == "" {
			code = "error without a code"
		}
		removals = append(removals, s3http.Removal{Name: aws.ToString(failed.Key), Code: code, Message: aws.ToString(failed.Message)})
	}
	return removals, nil
}

// BucketExists implements s3http.Client. The answer to a HEAD has no body, so a 404
// has no code.
func (c *client) BucketExists(ctx context.Context) (bool, error) {
	_, err := c.reads.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &c.bucket})
	if err != nil && c.Answer(err).Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// MakeBucket implements s3http.Client.
func (c *client) MakeBucket(ctx context.Context) error {
	create := &s3.CreateBucketInput{Bucket: &c.bucket}
	// A request without a region names Amazon's first one.
	if region := c.reads.Options().Region; region != "us-east-1" {
		create.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(region),
		}
	}
	_, err := c.reads.CreateBucket(ctx, create)
	return err
}

// Answer implements s3http.Client. Where the body names no code, the SDK makes one of
// the status's text, such as "NotFound" or "PreconditionFailed": none of S3's own.
func (c *client) Answer(err error) s3http.Answer {
	var reply *smithyhttp.ResponseError
	if !errors.As(err, &reply) {
		return s3http.Answer{}
	}
	answer := s3http.Answer{Status: reply.HTTPStatusCode()}
	var coded smithy.APIError
	if errors.As(err, &coded) {
		answer.Code = coded.ErrorCode()
	}
	refused := answer.Status >= 300 && answer.Status < 500 && s3http.Sentinel(answer.Status, answer.Code) == nil
	if region := reply.Response.Header.Get("X-Amz-Bucket-Region"); refused && region != "" {
		answer.Note = "the bucket is in region " + region
	}
	return answer
}
