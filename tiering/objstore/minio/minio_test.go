package minio_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/minio"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoreKeepsTheContractOnAStub(t *testing.T) {
	s := newStub(t, nil)
	storetest.Run(t, func(t *testing.T) objstore.Store {
		return s.open(t, fmt.Sprintf("test/%016x", rand.Uint64()))
	})
}

func TestStoreKeepsTheContractOnMinIO(t *testing.T) {
	storetest.Run(t, func(t *testing.T) objstore.Store { return openMinIO(t) })
}

// openMinIO returns an empty store in the MinIO at VARVE_TEST_MINIO.
func openMinIO(t testing.TB) *minio.Store {
	t.Helper()
	endpoint := os.Getenv("VARVE_TEST_MINIO")
	if endpoint == "" {
		t.Skip("needs a MinIO: set VARVE_TEST_MINIO=http://host:port, and VARVE_TEST_MINIO_USER and _PASSWORD if they are not minioadmin")
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		t.Fatalf("VARVE_TEST_MINIO=%q: want http://host:port", endpoint)
	}
	s, err := minio.Open(minio.Config{
		Endpoint: u.Host, Secure: u.Scheme == "https", Bucket: "varve-test",
		Prefix:      fmt.Sprintf("test/%016x", rand.Uint64()),
		Credentials: credentials.NewStaticV4(env("VARVE_TEST_MINIO_USER"), env("VARVE_TEST_MINIO_PASSWORD"), ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.EnsureBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func env(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return "minioadmin"
}
