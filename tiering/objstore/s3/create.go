package s3

import (
	"bytes"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// Create implements objstore.Store.
//
// The payload is not signed (X-Amz-Content-Sha256: UNSIGNED-PAYLOAD), which
// costs a third of the CPU of a signed one; what protects it instead is a
// CRC-32C computed here, in the signed headers, which the store compares with
// what arrived.
func (s *Store) Create(ctx context.Context, key string, data []byte) error {
	if err := objstore.CheckCreate(key, len(data)); err != nil {
		return err
	}
	if err := s.put(ctx, key, data); err != nil {
		return s.explain("create", key, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, key string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sum := s3http.Checksum(data)
	out, err := s.commits.PutObject(ctx, &s3.PutObjectInput{
		Bucket:         &s.bucket,
		Key:            aws.String(s.prefix + key),
		Body:           bytes.NewReader(data),
		ContentLength:  aws.Int64(int64(len(data))),
		ChecksumCRC32C: &sum, // a checksum that is there keeps the SDK from adding one
		IfNoneMatch:    aws.String("*"),
	})
	if err != nil {
		return err
	}
	return s3http.CheckPut(aws.ToString(out.ETag), aws.ToString(out.ChecksumCRC32C), sum)
}
