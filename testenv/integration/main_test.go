package integration

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait for an expected event. It is long because the
// machine may be busy: a test that passes never waits for it.
const patience = 90 * time.Second

// full skips a test that takes long.
func full(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: run without -short")
	}
}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// bucket is a bucket for one test, in the form that varve takes.
type bucket struct {
	url    string
	env    []string
	folder string               // of a file bucket
	minio  *testenv.MinIOServer // of a MinIO bucket
}

func fileBucket(t testing.TB) bucket {
	t.Helper()
	return bucketIn(filepath.Join(t.TempDir(), "bucket"))
}

func bucketIn(folder string) bucket {
	u := url.URL{Scheme: "file", Path: folder}
	return bucket{url: u.String(), folder: folder}
}

func minioBucket(t testing.TB) bucket {
	t.Helper()
	server := testenv.MinIO(t)
	return bucket{url: server.URL("events"), env: server.Env(), minio: server}
}

// ownMinIOBucket is on a server that the test may kill.
func ownMinIOBucket(t testing.TB) bucket {
	t.Helper()
	server := testenv.OwnMinIO(t)
	return bucket{url: server.URL("events"), env: server.Env(), minio: server}
}

// onStores runs test on a file bucket and on MinIO.
func onStores(t *testing.T, test func(t *testing.T, b bucket)) {
	for name, open := range map[string]func(testing.TB) bucket{"file": fileBucket, "MinIO": minioBucket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// varve is `varve serve` on the bucket with flags.
func (b bucket) varve(flags ...string) testenv.Varve {
	args := []string{"--bucket", b.url, "--flush-interval", "20ms"}
	if b.folder != "" {
		args = append(args, "--create-bucket")
	}
	return testenv.Varve{Args: append(args, flags...), Env: b.env}
}

// start starts a node on the bucket, with an empty data folder unless flags
// give one.
func (b bucket) start(t testing.TB, flags ...string) *testenv.Node {
	t.Helper()
	return b.varve(flags...).Start(t)
}

// startFresh removes the node's data folder, as the loss of its machine would,
// and starts another one on the bucket. The node must have ended.
func (b bucket) startFresh(t testing.TB, lost *testenv.Node, flags ...string) *testenv.Node {
	t.Helper()
	if err := os.RemoveAll(lost.DataDir); err != nil {
		t.Fatal(err)
	}
	return b.start(t, flags...)
}

func writeFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
