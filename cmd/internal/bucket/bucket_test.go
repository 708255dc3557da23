package bucket_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/varvelog/varve/cmd/internal/bucket"
	"github.com/varvelog/varve/tiering/objstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFileBucketIsCreatedOnlyWhenAsked(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "50% of it", "bucket")
	url := "file://" + strings.NewReplacer("%", "%25", " ", "%20").Replace(folder)
	_, err := bucket.Open(t.Context(), url, false)
	if !errors.Is(err, objstore.ErrNoBucket) || !strings.Contains(err.Error(), "create it") {
		t.Fatalf("missing folder: got %v", err)
	}
	for _, form := range []string{url, folder} {
		store, err := bucket.Open(t.Context(), form, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Create(t.Context(), form, objstore.Plain([]byte("x"))); err == nil {
			t.Fatalf("a key that begins with a slash was accepted")
		}
		bucket.Close(store)
	}
	store, err := bucket.Open(t.Context(), url, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Create(t.Context(), "k", objstore.Plain([]byte("v"))); err != nil {
		t.Fatal(err)
	}
	if again, err := bucket.Open(t.Context(), folder, false); err != nil {
		t.Fatal(err)
	} else if v, err := again.Get(t.Context(), "k"); err != nil || string(v) != "v" {
		t.Fatalf("the plain path is another bucket: %q, %v", v, err)
	}
}

func TestBadURLsSayWhatToWrite(t *testing.T) {
	for url, want := range map[string]string{
		"":                            "file:///path",
		"events":                      "begins with / or ./",
		"file://":                     "file:///path",
		"file://data/bucket":          "/data/bucket",
		"file:///a?x=1":               "%3F",
		"file:///a#b":                 "%23",
		"gs://b/p":                    "gs:// is not supported; write file:///path, minio://",
		"s3://":                       "names no bucket",
		"s3:///events":                "names no bucket",
		"s3://127.0.0.1:9000/events":  "endpoint=https://127.0.0.1:9000",
		"s3://Events/p":               "not a bucket's name",
		"s3://events/a//b":            "empty segment",
		"s3://events#x":               "#",
		"s3://key:secret@events":      "AWS_ACCESS_KEY_ID",
		"s3://events?secure=true":     `"secure" is not an option; use region, endpoint or path-style`,
		"s3://events?path_style=true": `"path_style" is not an option`,
		"s3://events?path-style=yes":  "path-style=true or path-style=false",
		"s3://events?path-style=true&path-style=true": "once",
		"s3://events?region=":                         "region=...",
		"s3://events?region=a&region=b":               "once",
		"s3://events?endpoint=":                       "endpoint=...",
		"s3://events?endpoint=127.0.0.1:9000":         "http://host:port",
		"s3://events?endpoint=localhost:9000":         "http://host:port",
		"s3://events?endpoint=http://h/p":             "nothing may follow",
		"s3://events?endpoint=http://h:0":             "not a port",
		"s3://events?endpoint=http://key:secret@h":    "AWS_ACCESS_KEY_ID",
		"s3://events?endpoint=http://key:secret%zz@h": "URL escape",
		"minio://":                                "names no host",
		"minio:///b":                              "names no host",
		"minio://h:9000":                          "names no bucket",
		"minio://h:9000/":                         "names no bucket",
		"minio://h:99999/b":                       "not a port",
		"minio://h:/b":                            "host:port",
		"minio://h/b?secure=maybe":                "secure=true or secure=false",
		"minio://h/b?secure=true&secure=false":    "once",
		"minio://h/b?region=x":                    `"region" is not an option`,
		"minio://h/b#x":                           "#",
		"minio://key:secret@h:9000/b":             "AWS_ACCESS_KEY_ID",
		"minio://key:secret@h:9000/b\x00":         "cannot be read",
		"minio://key:secret%zz@h:9000/b?secure=x": "cannot be read",
	} {
		_, err := bucket.Open(t.Context(), url, false)
		if !errors.Is(err, bucket.ErrURL) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "key:secret") {
			t.Errorf("%q: got %v, want %q", url, err, want)
		}
		if check := bucket.Check(url); check == nil || !strings.Contains(err.Error(), check.Error()) {
			t.Errorf("%q: Check says %v, Open %v", url, check, err)
		}
	}
}

func TestGoodURLsPass(t *testing.T) {
	for _, url := range []string{
		"file:///a/b", "/a/b", "./b", "../b", "minio://h/b", "minio://h:9000/b/p/q/?secure=false", "minio://[::1]:9000/b?secure=true",
		"s3://events", "s3://events/p/q/?region=eu-central-1", "s3://my.events/p?endpoint=http://127.0.0.1:9000&path-style=true&region=us-east-1",
		"s3://events?endpoint=https%3A%2F%2Fs.example.net%2F&path-style=false",
	} {
		if err := bucket.Check(url); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestARemoteBucketIsLookedForWhenOpened(t *testing.T) {
	for _, form := range []string{"minio://%s/events/prod?secure=false", "s3://events/prod?endpoint=http://%s&path-style=true"} {
		t.Run(form, func(t *testing.T) { remoteBucketIsLookedFor(t, form) })
	}
}

func remoteBucketIsLookedFor(t *testing.T, form string) {
	t.Setenv("AWS_ACCESS_KEY_ID", "user")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	answer := http.NotFound
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	t.Cleanup(server.Close)
	url := fmt.Sprintf(form, server.Listener.Addr())

	answer = s3(http.StatusNotFound, `<Error><Code>NoSuchBucket</Code></Error>`)
	if _, err := bucket.Open(t.Context(), url, false); !errors.Is(err, objstore.ErrNoBucket) || !strings.Contains(err.Error(), "create it") {
		t.Errorf("missing bucket: got %v", err)
	}
	answer = s3(http.StatusForbidden, `<Error><Code>AccessDenied</Code></Error>`)
	if _, err := bucket.Open(t.Context(), url, false); !errors.Is(err, objstore.ErrDenied) {
		t.Errorf("denied: got %v", err)
	}
	for name, listing := range map[string]string{
		"empty": `<ListBucketResult></ListBucketResult>`,
		"used":  `<ListBucketResult><Contents><Key>prod/cluster</Key><Size>9</Size></Contents></ListBucketResult>`,
	} {
		answer = s3(http.StatusOK, listing)
		store, err := bucket.Open(t.Context(), url, false)
		if err != nil {
			t.Errorf("%s bucket: %v", name, err)
			continue
		}
		bucket.Close(store)
	}
}

func s3(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
}

func TestSomeStoresBillEachRequest(t *testing.T) {
	for url, want := range map[string]bool{
		"s3://events/p":                  true,
		"s3://events/p?region=eu-west-1": true,
		"s3://events/p?endpoint=https://s3.eu-west-1.amazonaws.com":     true,
		"s3://events?endpoint=https://s3.cn-north-1.amazonaws.com.cn":   true,
		"s3://events?endpoint=https://s3.eusc-de-east-1.amazonaws.eu":   true,
		"s3://events?endpoint=https://0a1b.r2.cloudflarestorage.com":    true,
		"s3://events?endpoint=https://0a1b.eu.r2.cloudflarestorage.com": true,
		"s3://events/p?endpoint=https://S3.AMAZONAWS.COM:443":           true,
		"s3://events/p?endpoint=http://127.0.0.1:9000":                  false,
		"s3://events/p?endpoint=https://notamazonaws.com":               false,
		"s3://events/p?endpoint=https://amazonaws.com.example.net":      false,
		"minio://s3.eu-central-1.amazonaws.com/b":                       true,
		"minio://127.0.0.1:9000/b?secure=false":                         false,
		"file:///b":                                                     false,
	} {
		if got := bucket.Billed(url); got != want {
			t.Errorf("%s: billed %v, want %v", url, got, want)
		}
	}
}
