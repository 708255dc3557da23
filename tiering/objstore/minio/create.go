package minio

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/minio/minio-go/v7"

	"github.com/varvelog/varve/tiering/objstore"
)

const checksumHeader = "x-amz-checksum-crc32c"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

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
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli)))
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
	// Every S3 store names an ETag; a proxy's page has none, and for some 2xx
	// other than 200 the SDK returns neither an error nor anything else.
	if info.ETag == "" || info.Size != int64(len(data)) {
		return fmt.Errorf("store confirmed another object: %d bytes, ETag %q", info.Size, info.ETag)
	}
	if info.ChecksumCRC32C != "" && info.ChecksumCRC32C != sum {
		return fmt.Errorf("store confirmed CRC-32C %s, sent %s", info.ChecksumCRC32C, sum)
	}
	return nil
}
