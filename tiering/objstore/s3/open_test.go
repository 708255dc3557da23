package s3_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3wire"
	"github.com/varvelog/varve/tiering/objstore/s3"
)

// noAWS hides the machine's environment and files for the AWS tools.
func noAWS(t *testing.T) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // restores it at the end
			os.Unsetenv(name)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestOpenRefusesContradictions(t *testing.T) {
	noAWS(t)
	good := s3.Config{Endpoint: "http://127.0.0.1:9000", Bucket: "events", Prefix: "p/q", PathStyle: true}
	for name, c := range map[string]struct {
		change func(c *s3.Config)
		want   string
	}{
		"no bucket":                 {func(c *s3.Config) { c.Bucket = "" }, "not a bucket's name"},
		"bad bucket":                {func(c *s3.Config) { c.Bucket = "Events_" }, "not a bucket's name"},
		"access point":              {func(c *s3.Config) { c.Bucket = "arn:aws:s3:eu-west-1:1:accesspoint/x" }, "not a bucket's name"},
		"an address for a bucket":   {func(c *s3.Config) { c.Bucket = "127.0.0.1" }, "not a bucket's name"},
		"directory bucket":          {func(c *s3.Config) { c.Bucket = "events--use1-az4--x-s3" }, "directory buckets"},
		"prefix with a slash":       {func(c *s3.Config) { c.Prefix = "a/" }, "empty segment"},
		"prefix with dots":          {func(c *s3.Config) { c.Prefix = "a/../b" }, `".."`},
		"long prefix":               {func(c *s3.Config) { c.Prefix = strings.Repeat("x", 250) }, "longest"},
		"concurrency":               {func(c *s3.Config) { c.Concurrency = -1 }, "concurrency"},
		"Amazon without region":     {func(c *s3.Config) { c.Endpoint = "" }, "AWS_REGION"},
		"endpoint without a scheme": {func(c *s3.Config) { c.Endpoint = "127.0.0.1:9000" }, "http://host:port"},
		"endpoint of another kind":  {func(c *s3.Config) { c.Endpoint = "ftp://h" }, "http://host:port"},
		"endpoint without a host":   {func(c *s3.Config) { c.Endpoint = "http://" }, "http://host:port"},
		"endpoint with a path":      {func(c *s3.Config) { c.Endpoint = "http://h/events" }, "nothing may follow"},
		"endpoint with a query":     {func(c *s3.Config) { c.Endpoint = "http://h?a" }, "nothing may follow"},
		"endpoint with a password":  {func(c *s3.Config) { c.Endpoint = "http://key:secret@h" }, "AWS_ACCESS_KEY_ID"},
		"unreadable endpoint":       {func(c *s3.Config) { c.Endpoint = "http://key:secret%zz@h" }, "cannot be read"},
	} {
		cfg := good
		c.change(&cfg)
		_, err := s3.Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestStringIsTheURLWithWhatTheEnvironmentAdds(t *testing.T) {
	noAWS(t)
	check := func(cfg s3.Config, want string) {
		t.Helper()
		if got := openStore(t, cfg).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check(s3.Config{Endpoint: "http://127.0.0.1:9000", Bucket: "events", Prefix: "p/q", PathStyle: true},
		"s3://events/p/q?endpoint=http://127.0.0.1:9000&path-style=true&region=us-east-1")
	t.Setenv("AWS_REGION", "eu-west-3")
	check(s3.Config{Bucket: "events"}, "s3://events?region=eu-west-3")
	check(s3.Config{Bucket: "events", Region: "eu-north-1"}, "s3://events?region=eu-north-1")
	t.Setenv("AWS_ENDPOINT_URL_S3", "https://store.example.net")
	check(s3.Config{Bucket: "events"}, "s3://events?endpoint=https://store.example.net&region=eu-west-3")
}

func TestCredentialsComeFromTheUsualPlacesOrAreMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[archive]\naws_access_key_id = filed\naws_secret_access_key = s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		user string // "" for none
	}{
		"environment": {map[string]string{"AWS_ACCESS_KEY_ID": "aws", "AWS_SECRET_ACCESS_KEY": "s"}, "aws"},
		"file":        {map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_PROFILE": "archive"}, "filed"},
		"none":        {nil, ""},
		"half":        {map[string]string{"AWS_ACCESS_KEY_ID": "aws"}, ""},
		"a pod's role, refused": {map[string]string{
			"AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": filepath.Join(t.TempDir(), "absent")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			noAWS(t)
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			s := s3wire.NewStub(t, nil)
			store := openStore(t, s3.Config{Endpoint: "http://" + s.Host(), PathStyle: true, Bucket: "events"})
			err := store.Create(t.Context(), "a", objstore.Plain(nil))
			if c.user == "" {
				wantNoCredentials(t, err)
				if len(s.Sent("")) != 0 {
					t.Error("sent a request without a signature")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if auth := s.Sent("")[0].Header.Get("Authorization"); !strings.Contains(auth, "Credential="+c.user+"/") {
				t.Errorf("signed %s", auth)
			}
		})
	}
}

func wantNoCredentials(t *testing.T, err error) {
	t.Helper()
	s3wire.CheckIs(t, err, objstore.ErrDenied)
	if !strings.Contains(err.Error(), "set AWS_ACCESS_KEY_ID") {
		t.Errorf("error %q does not say what to do", err)
	}
}

func TestAMachineWithoutARoleHasNoCredentials(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	without := httptest.NewServer(http.NotFoundHandler())
	defer without.Close()
	for name, endpoint := range map[string]string{
		"never answers":  "http://" + silent.Addr().String(),
		"404 of another": without.URL,
	} {
		t.Run(name, func(t *testing.T) {
			noAWS(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
			_, err := openStore(t, s3.Config{Bucket: "events", Region: "eu-west-1"}).Get(t.Context(), "a")
			wantNoCredentials(t, err)
		})
	}
}

// giver hands out credentials until err is set.
type giver struct{ err error }

func (g *giver) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "user", SecretAccessKey: "secret", CanExpire: true}, g.err // expired long ago
}

func TestCredentialsThatCannotBeRenewedAreNoDenial(t *testing.T) {
	s := s3wire.NewStub(t, nil)
	giver := &giver{}
	store := openStore(t, s3.Config{Endpoint: "http://" + s.Host(), PathStyle: true, Bucket: "events", Credentials: giver})
	if err := store.Create(t.Context(), "a", objstore.Plain(nil)); err != nil {
		t.Fatal(err)
	}
	giver.err = errors.New("come back later")
	err := store.Create(t.Context(), "b", objstore.Plain(nil))
	s3wire.CheckIs(t, err, nil)
	if !strings.Contains(err.Error(), "come back later") || len(s.Sent("")) != 1 {
		t.Errorf("error %v, %d requests", err, len(s.Sent("")))
	}
}

func TestABucketElsewhereIsNamed(t *testing.T) {
	s := s3wire.NewStub(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
		w.WriteHeader(http.StatusMovedPermanently) // as Amazon does, without a Location
		w.Write([]byte("<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"))
	})
	store := openStub(t, s.Host(), "")
	for name, call := range map[string]func() error{
		"Create": func() error { return store.Create(t.Context(), "a", objstore.Plain(nil)) },
		"Get":    func() error { _, err := store.Get(t.Context(), "a"); return err },
		"List": func() error {
			return store.List(t.Context(), "", "", func(objstore.Info) error { return nil })
		},
	} {
		err := call()
		s3wire.CheckIs(t, err, nil)
		if !strings.Contains(err.Error(), "in region eu-north-1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Sent("")); n != 3 {
		t.Errorf("sent %d requests, want 3", n)
	}
}

func TestAListingWithoutAMarkToGoOnFromIsAnError(t *testing.T) {
	s := s3wire.NewStub(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Write([]byte(`<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>`))
	})
	err := openStub(t, s.Host(), "").List(t.Context(), "", "", func(objstore.Info) error { return nil })
	s3wire.CheckIs(t, err, nil)
}

// Over https the SDK would by itself send an unsigned payload, but also a trailer, a
// chunked body, HTTP/2. Over http it does none of this.
func TestCreateOverTLSIsThePlainPutAsWell(t *testing.T) {
	noAWS(t)
	stub := s3wire.NewStub(t, nil)
	server := httptest.NewUnstartedServer(stub)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	store := openStore(t, s3.Config{Endpoint: server.URL, PathStyle: true, Bucket: "events", Credentials: static("user", "secret")})
	if err := store.Create(t.Context(), "a", objstore.Plain(make([]byte, 3<<20))); err != nil {
		t.Fatal(err)
	}
	r := stub.Sent("")[0]
	if r.Proto != "HTTP/1.1" || r.ContentLength != 3<<20 || len(r.TransferEncoding) != 0 || r.Header.Get("Expect") != "" ||
		r.Header.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" || r.Header.Get("X-Amz-Trailer") != "" {
		t.Errorf("sent %s, %d bytes, %q, headers %v", r.Proto, r.ContentLength, r.TransferEncoding, r.Header)
	}
}
