package minio_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3wire"
	"github.com/varvelog/varve/tiering/objstore/minio"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoreKeepsTheContractOnAStub(t *testing.T) {
	s := s3wire.NewStub(t, nil)
	storetest.Run(t, func(t *testing.T) objstore.Store {
		return openStub(t, s.Host(), fmt.Sprintf("test/%016x", rand.Uint64()))
	})
}

func TestStoreSpeaksS3AsItShould(t *testing.T) { s3wire.Run(t, openStub) }

func openStub(t testing.TB, host, prefix string) s3wire.Store {
	return openStore(t, minio.Config{
		Endpoint: host, Bucket: "events", Prefix: prefix,
		Credentials: credentials.NewStaticV4("user", "secret", ""),
	})
}

func TestStoreKeepsTheContractOnMinIO(t *testing.T) {
	openMinIO(t) // skips all of it as one
	storetest.Run(t, func(t *testing.T) objstore.Store { return openMinIO(t) })
}

func TestSettingsOfMinIO(t *testing.T) {
	server := testenv.MinIO(t)
	cfg := onServer(server)
	cfg.Prefix = "prod"
	s3wire.RunSettings(t, server, func(bucket string) objstore.Store { cfg.Bucket = bucket; return openStore(t, cfg) })
}

func TestALargeObjectIsStreamedToMinIO(t *testing.T) { storetest.BoundedMemory(t, openMinIO(t)) }

func TestProbePassesOnMinIO(t *testing.T) {
	s := openMinIO(t)
	if err := objstore.Probe(t.Context(), s, "probe", objstore.Thorough, nil); err != nil {
		t.Error(err)
	}
	if err := objstore.CreateTwice(t.Context(), s, "probe"); err != nil {
		t.Error(err)
	}
}

func TestMinIOSaysThatABucketIsMissingOrAKeyIsWrong(t *testing.T) {
	for _, c := range []struct {
		bucket, password string
		want             error
	}{
		{"varve-nowhere", "", objstore.ErrNoBucket},
		{"test-any", "wrong-password", objstore.ErrDenied},
	} {
		cfg := minIO(t)
		cfg.Bucket = c.bucket
		if c.password != "" {
			cfg.Credentials = credentials.NewStaticV4("varve", c.password, "")
		}
		s := openStore(t, cfg)
		s3wire.CheckIs(t, s.Create(t.Context(), "a", objstore.Plain([]byte("x"))), c.want)
		_, err := s.Get(t.Context(), "a")
		s3wire.CheckIs(t, err, c.want)
		err = s.GetRange(t.Context(), "a", 0, make([]byte, 1))
		s3wire.CheckIs(t, err, c.want)
		_, _, err = s.GetTail(t.Context(), "a", 1)
		s3wire.CheckIs(t, err, c.want)
		s3wire.CheckIs(t, s.List(t.Context(), "", "", func(objstore.Info) error { return nil }), c.want)
		s3wire.CheckIs(t, s.Delete(t.Context(), "a"), c.want)
	}
}

// openMinIO returns an empty store in a MinIO.
func openMinIO(t testing.TB) *minio.Store {
	t.Helper()
	s := openStore(t, minIO(t))
	if err := s.EnsureBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// minIO says where a MinIO with a bucket for this test is, or skips the test.
func minIO(t testing.TB) minio.Config {
	t.Helper()
	return onServer(testenv.MinIO(t))
}

func onServer(server *testenv.MinIOServer) minio.Config {
	return minio.Config{
		Endpoint: server.Address, Bucket: server.Bucket,
		Prefix:      fmt.Sprintf("test/%016x", rand.Uint64()),
		Credentials: credentials.NewStaticV4(server.AccessKey, server.SecretKey, ""),
	}
}

func openStore(t testing.TB, cfg minio.Config) *minio.Store {
	t.Helper()
	s, err := minio.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
