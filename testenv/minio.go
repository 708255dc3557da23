package testenv

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/testenv/miniod"
)

// minioTimeout limits each call to a test's server.
const minioTimeout = time.Minute

// MinIOServer is a server that a test may use, with a fresh bucket of its own.
type MinIOServer struct {
	Address   string // 127.0.0.1:port
	AccessKey string
	SecretKey string
	Bucket    string // made for this test, deleted with its objects at its end
	Client    *minio.Client

	server *miniod.Server // nil: shared with other tests
}

// MinIO returns a server for the test: the one that VARVE_TEST_MINIO names
// (`make test` starts one for all packages), or else one of its own. It cannot
// be stopped; OwnMinIO's can.
func MinIO(t testing.TB) *MinIOServer {
	t.Helper()
	address := os.Getenv(miniod.AddressVariable)
	if address == "" {
		return OwnMinIO(t)
	}
	s := &MinIOServer{Address: address,
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY")}
	s.connect(t)
	return s
}

// OwnMinIO starts a server that only this test uses, and may stop, kill and
// restart. That takes about a second; use MinIO in tests that do not need it.
func OwnMinIO(t testing.TB) *MinIOServer {
	t.Helper()
	if testing.Short() {
		t.Skip("needs MinIO: run without -short")
	}
	binary, err := miniod.Find()
	if errors.Is(err, miniod.ErrNoBinary) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), minioTimeout)
	defer cancel()
	server, err := miniod.Start(ctx, miniod.Config{Binary: binary, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil { // the folder is deleted as well: no need to end it gently
			t.Error(err)
		}
		if output := server.Output(); t.Failed() && output != "" {
			t.Logf("MinIO printed:\n%s", output)
		}
	})
	s := &MinIOServer{Address: server.Address(),
		AccessKey: miniod.AccessKey, SecretKey: miniod.SecretKey, server: server}
	s.connect(t)
	return s
}

func (s *MinIOServer) connect(t testing.TB) {
	t.Helper()
	transport, err := minio.DefaultTransport(false)
	if err != nil {
		t.Fatal(err)
	}
	// Their goroutines would outlive the test.
	t.Cleanup(transport.CloseIdleConnections)
	s.Client, err = minio.New(s.Address, &minio.Options{
		Creds:     credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Bucket = s.newBucket(t)
}

// newBucket makes one more bucket. If the server is shared, it is deleted with
// its objects at the test's end.
func (s *MinIOServer) newBucket(t testing.TB) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text())
	ctx, cancel := context.WithTimeout(context.Background(), minioTimeout)
	defer cancel()
	if err := s.Client.MakeBucket(ctx, name, minio.MakeBucketOptions{}); err != nil {
		t.Fatalf("make bucket on MinIO at %s: %v", s.Address, err)
	}
	if s.server == nil {
		t.Cleanup(func() { s.removeBucket(t, name) })
	}
	return name
}

func (s *MinIOServer) removeBucket(t testing.TB, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), minioTimeout)
	defer cancel()
	err := s.Client.RemoveBucketWithOptions(ctx, name, minio.RemoveBucketOptions{ForceDelete: true})
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchBucket {
		t.Errorf("remove bucket of the test: %v", err)
	}
}

// URL returns the test's bucket in the form of varve's --bucket, with a prefix
// that may be empty.
func (s *MinIOServer) URL(prefix string) string {
	url := "minio://" + s.Address + "/" + s.Bucket
	if prefix != "" {
		url += "/" + prefix
	}
	return url + "?secure=false" // it speaks no TLS
}

// Env returns the credentials in the form in which varve reads them from its
// environment.
func (s *MinIOServer) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey}
}

// Stop ends the server, which must be one of OwnMinIO.
func (s *MinIOServer) Stop(t testing.TB) {
	t.Helper()
	if err := s.own(t).Stop(); err != nil {
		t.Fatal(err)
	}
}

// Pid returns the server's process id.
func (s *MinIOServer) Pid(t testing.TB) int {
	t.Helper()
	return s.own(t).Pid()
}

// Kill ends the server, which must be one of OwnMinIO, as a crash would.
func (s *MinIOServer) Kill(t testing.TB) {
	t.Helper()
	if err := s.own(t).Kill(); err != nil {
		t.Fatal(err)
	}
}

// Restart starts the server again after Stop or Kill, with the same address
// and buckets.
func (s *MinIOServer) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), minioTimeout)
	defer cancel()
	if err := s.own(t).Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

func (s *MinIOServer) own(t testing.TB) *miniod.Server {
	t.Helper()
	if s.server == nil {
		t.Fatalf("the MinIO at %s is shared with other tests; take one from testenv.OwnMinIO", s.Address)
	}
	return s.server
}
