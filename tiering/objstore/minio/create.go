package minio

import (
	"bytes"
	"context"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

const checksumHeader = "x-amz-checksum-crc32c"

// Create implements objstore.Store.
//
// The payload is not signed (X-Amz-Content-Sha256: UNSIGNED-PAYLOAD), which
// costs a third of the CPU of a signed one; what protects it instead is a
// CRC-32C computed here, in the signed headers, which the store compares with
// what arrived.
//
// Core.PutObject is the SDK's one PUT below its conveniences. Client.PutObject
// refuses a checksum header unless TrailingHeaders is set, and then adds
// headers of its own.
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
	opts := minio.PutObjectOptions{
		UserMetadata:         map[string]string{checksumHeader: sum},
		DisableContentSha256: true,
		DisableMultipart:     true,
	}
	opts.SetMatchETagExcept("*") // If-None-Match: *
	info, err := s.commits.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(data), int64(len(data)), "", "", opts)
	if err != nil {
		return err
	}
	return s3http.CheckPut(info.ETag, info.ChecksumCRC32C, sum)
}
