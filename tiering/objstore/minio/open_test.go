package minio_test

import (
	"bytes"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/internal/s3wire"
	"github.com/varvelog/varve/tiering/objstore/minio"
)

func TestOpenRefusesContradictions(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	good := minio.Config{Endpoint: "127.0.0.1:9000", Bucket: "events"}
	for name, change := range map[string]func(c *minio.Config){
		"no endpoint":           func(c *minio.Config) { c.Endpoint = "" },
		"endpoint with a path":  func(c *minio.Config) { c.Endpoint = "127.0.0.1:9000/events" },
		"no bucket":             func(c *minio.Config) { c.Bucket = "" },
		"bad bucket":            func(c *minio.Config) { c.Bucket = "Events_" },
		"prefix with a slash":   func(c *minio.Config) { c.Prefix = "a/" },
		"prefix with dots":      func(c *minio.Config) { c.Prefix = "a/../b" },
		"long prefix":           func(c *minio.Config) { c.Prefix = string(bytes.Repeat([]byte("x"), 250)) },
		"concurrency":           func(c *minio.Config) { c.Concurrency = -1 },
		"Amazon without region": func(c *minio.Config) { c.Endpoint = "s3.amazonaws.com" },
	} {
		c := good
		change(&c)
		if _, err := minio.Open(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if s, err := minio.Open(good); err != nil || s.String() != "minio://127.0.0.1:9000/events?secure=false" {
		t.Errorf("%v, %v", s, err)
	}
}

func TestCredentialsComeFromTheEnvironmentOrAreMissing(t *testing.T) {
	clearEnv := []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
		"MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ALIAS",
		"AWS_SHARED_CREDENTIALS_FILE", "MINIO_SHARED_CREDENTIALS_FILE", "AWS_PROFILE",
	}
	for _, c := range []struct {
		name string
		env  map[string]string
		user string // "" for none
	}{
		{"AWS", map[string]string{"AWS_ACCESS_KEY_ID": "aws", "AWS_SECRET_ACCESS_KEY": "s"}, "aws"},
		{"MinIO root", map[string]string{"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "s"}, "root"},
		{"MinIO", map[string]string{"MINIO_ACCESS_KEY": "key", "MINIO_SECRET_KEY": "s"}, "key"},
		{"none", nil, ""},
		{"half", map[string]string{"AWS_ACCESS_KEY_ID": "aws"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			for _, name := range clearEnv {
				t.Setenv(name, c.env[name])
			}
			s := s3wire.NewStub(t, nil)
			store, err := minio.Open(minio.Config{Endpoint: s.Host(), Bucket: "events"})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			err = store.Create(t.Context(), "a", objstore.Plain(nil))
			if c.user == "" {
				s3wire.CheckIs(t, err, objstore.ErrDenied)
				if len(s.Sent("")) != 0 {
					t.Error("sent a request without a signature")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			auth := s.Sent("")[0].Header.Get("Authorization")
			if !bytes.Contains([]byte(auth), []byte("Credential="+c.user+"/")) {
				t.Errorf("signed %s", auth)
			}
		})
	}
}
