package s3_test

import (
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/minio"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

// BenchmarkStore measures the two drivers that speak S3 side by side, on one MinIO: only
// the client differs.
func BenchmarkStore(b *testing.B) {
	b.Run("s3", func(b *testing.B) { storetest.Benchmark(b, openMinIO(b)) })
	b.Run("minio", func(b *testing.B) { storetest.Benchmark(b, openOtherDriver(b)) })
}

func openOtherDriver(b *testing.B) objstore.Store {
	server := testenv.MinIO(b)
	s, err := minio.Open(minio.Config{
		Endpoint: server.Address, Bucket: server.Bucket,
		Credentials: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}
