package stored_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/testenv/stored"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/minio"
	"github.com/varvelog/varve/tiering/objstore/s3"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

var (
	all  = flag.Bool("stores.all", false, "build and run every store")
	only = flag.String("stores.only", "", "run the stores whose names match this regular expression")
)

// buildLimit bounds the build of one store.
const buildLimit = 40 * time.Minute

// commandLimit bounds each command of varve.
const commandLimit = time.Minute

// start starts a store for the test, or skips it by name.
func start(t *testing.T, p stored.Program) *stored.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	binary, err := p.Build(ctx, t.Output())
	if err != nil {
		t.Skipf("%s cannot be had here: %v", p.Name, err)
	}
	server, err := p.Start(ctx, binary, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%.10000s", p.Name, server.Output())
		}
	})
	return server
}

// store is a bucket of a server that a driver has opened.
type store interface {
	objstore.Store
	EnsureBucket(ctx context.Context) error
	Close()
}

var drivers = map[string]func(t *testing.T, address, bucket, prefix string) (store, error){
	"minio": func(_ *testing.T, address, bucket, prefix string) (store, error) {
		return minio.Open(minio.Config{Endpoint: address, Bucket: bucket, Prefix: prefix,
			Credentials: miniocredentials.NewStaticV4(stored.AccessKey, stored.SecretKey, "")})
	},
	"s3": func(t *testing.T, address, bucket, prefix string) (store, error) {
		return s3.Open(t.Context(), s3.Config{Endpoint: "http://" + address, PathStyle: true, Bucket: bucket, Prefix: prefix,
			Credentials: credentials.NewStaticCredentialsProvider(stored.AccessKey, stored.SecretKey, "")})
	},
}

// deviations are the tests of the contract that a store does not pass, and why varve can do
// without them.
var deviations = map[string]map[string]string{
	"seaweedfs": {"racing creators have one winner": "of 32 creators of one key, some wait for more than 10 s and get no answer; " +
		"the probe shows that one at most wins"},
}

// TestStores runs the contract of objstore.Store and the probe on each store, by each
// driver. Its outcome is the verdict in the README.
func TestStores(t *testing.T) {
	if testing.Short() || !*all && *only == "" {
		t.Skip("left to make stores")
	}
	pattern := regexp.MustCompile(*only)
	for _, p := range stored.Programs {
		t.Run(p.Name, func(t *testing.T) {
			if !pattern.MatchString(p.Name) {
				t.Skip("not chosen")
			}
			server := start(t, p)
			for name, open := range drivers {
				t.Run(name, func(t *testing.T) {
					known := deviations[p.Name]
					// In one bucket: SeaweedFS gives each bucket volumes of its own.
					bucket := "test-" + strings.ToLower(rand.Text())
					judge(t, known, func(t *testing.T) store {
						s, err := open(t, server.Address(), bucket, rand.Text())
						if err != nil {
							t.Fatal(err)
						}
						t.Cleanup(s.Close)
						if err := s.EnsureBucket(t.Context()); err != nil {
							t.Fatal(err)
						}
						return s
					})
				})
			}
			t.Run("node", func(t *testing.T) { holdsALog(t, server) })
		})
	}
}

// holdsALog wants the records of a node that was killed back from the store alone.
func holdsALog(t *testing.T, server *stored.Server) {
	bucket := "minio://" + server.Address() + "/log/prod?secure=false"
	env := []string{"AWS_ACCESS_KEY_ID=" + stored.AccessKey, "AWS_SECRET_ACCESS_KEY=" + stored.SecretKey}
	varve := func(stdin string, args ...string) string {
		t.Helper()
		out := testenv.Varve{Args: args, Env: env, Stdin: strings.NewReader(stdin)}.Run(t, commandLimit)
		if out.Code != 0 {
			t.Fatalf("varve %q: exit code %d: %s", args, out.Code, out.Stderr)
		}
		return string(out.Stdout)
	}
	start := func() *testenv.Node {
		return testenv.Varve{Args: []string{"--bucket", bucket, "--create-bucket", "--flush-interval", "20ms"}, Env: env}.Start(t)
	}
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, "record %d\n", i)
	}
	node := start()
	varve(lines.String(), "produce", "events", "--create-topic", "--bootstrap", node.Kafka)
	node.Kill(t)
	again := start()
	if got := varve("", "consume", "events", "--until-end", "--bootstrap", again.Kafka); got != lines.String() {
		t.Errorf("read %d bytes of %d", len(got), lines.Len())
	}
	again.Stop(t)
	varve("", "bucket", "verify", "--records", "--bucket", bucket)
}

func judge(t *testing.T, known map[string]string, open func(t *testing.T) store) {
	t.Run("contract", func(t *testing.T) {
		storetest.RunBut(t, known, func(t *testing.T) objstore.Store { return open(t) })
	})
	t.Run("large object", func(t *testing.T) { storetest.BoundedMemory(t, open(t)) })
	t.Run("probe", func(t *testing.T) {
		began := time.Now()
		if err := objstore.Probe(t.Context(), open(t), "probe", objstore.Thorough, nil); err != nil {
			t.Error(err)
		}
		t.Logf("probed in %v", time.Since(began).Round(time.Millisecond))
	})
	t.Run("settings", func(t *testing.T) {
		p, err := objstore.ReadPolicy(t.Context(), open(t))
		if err != nil || p.Check() != nil {
			t.Errorf("%+v, %v", p, err)
		}
		t.Log(fmt.Sprintf("versioning %s, lock %s, unread %v", p.Versioning, p.Lock, p.Unread))
	})
	t.Run("clock", func(t *testing.T) {
		s := open(t)
		_, _ = s.Get(t.Context(), "nothing")
		if at, answers := s.(objstore.Clock).StoreTime(); answers == 0 || time.Since(at).Abs() > time.Minute {
			t.Errorf("the store's time is %v, by %d answers", at, answers)
		}
	})
}
