package s3_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"github.com/varvelog/varve/testenv"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3wire"
	"github.com/varvelog/varve/tiering/objstore/s3"
	"github.com/varvelog/varve/tiering/objstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStoreKeepsTheContractOnAStub(t *testing.T) {
	s := s3wire.NewStub(t, nil)
	storetest.Run(t, func(t *testing.T) objstore.Store {
		return openStub(t, s.Host(), fmt.Sprintf("test/%016x", rand.Uint64()))
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

func TestStoreSpeaksS3AsItShould(t *testing.T) { s3wire.Run(t, openStub) }

// No setting of the AWS tools may undo a promise of the driver.
func TestStoreSpeaksS3AsItShouldWhateverTheEnvironmentSays(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_MAX_ATTEMPTS":                       "10",
		"AWS_RETRY_MODE":                         "adaptive",
		"AWS_NEW_RETRIES_2026":                   "true",
		"AWS_REQUEST_CHECKSUM_CALCULATION":       "when_supported",
		"AWS_RESPONSE_CHECKSUM_VALIDATION":       "when_supported",
		"AWS_DEFAULTS_MODE":                      "auto",
		"AWS_ENDPOINT_URL_S3":                    "http://127.0.0.1:1", // the Config names another
		"AWS_REGION":                             "eu-central-1",
		"AWS_ENABLE_DEFAULT_SOCKET_TIMEOUT_2026": "true",
	} {
		t.Setenv(name, value)
	}
	s3wire.Run(t, openStub)
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
			cfg.Credentials = static("varve", c.password)
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

func TestEnsureBucketMakesABucketOnMinIO(t *testing.T) {
	cfg := minIO(t)
	cfg.Bucket += "-2"
	s := openStore(t, cfg)
	for range 2 {
		if err := s.EnsureBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Create(t.Context(), "a", objstore.Plain(nil)); err != nil {
		t.Error(err)
	}
}

func openStub(t testing.TB, host, prefix string) s3wire.Store {
	return openStore(t, s3.Config{
		Bucket: "events", Prefix: prefix, Endpoint: "http://" + host, PathStyle: true, Credentials: static("user", "secret"),
	})
}

// openMinIO returns an empty store in a MinIO.
func openMinIO(t testing.TB) *s3.Store {
	t.Helper()
	return openStore(t, minIO(t))
}

// minIO says where a MinIO with a bucket for this test is, or skips the test.
func minIO(t testing.TB) s3.Config {
	t.Helper()
	return onServer(testenv.MinIO(t))
}

func onServer(server *testenv.MinIOServer) s3.Config {
	return s3.Config{
		Endpoint: "http://" + server.Address, PathStyle: true, Bucket: server.Bucket,
		Prefix:      fmt.Sprintf("test/%016x", rand.Uint64()),
		Credentials: static(server.AccessKey, server.SecretKey),
	}
}

func openStore(t testing.TB, cfg s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func static(key, secret string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(key, secret, "")
}
