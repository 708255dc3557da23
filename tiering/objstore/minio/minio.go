// Package minio is a bucket of an S3-compatible store, by the minio-go client.
//
// It owns the HTTP connections to the store. It promises that a Create is one
// conditional PUT (If-None-Match: *), sent once, with a checksum the store
// verifies, and that only an unmistakable answer of the store becomes nil or
// one of objstore's errors: a 404 that was not written by an S3 server, a 200
// with an error in its body, a broken connection are all "unknown". It never
// uploads in parts, never lets the SDK repeat a Create, and never logs or
// shows credentials.
//
// Reads are repeated a few times by the SDK when the store answers 5xx or the
// connection breaks before the answer; that changes nothing in the bucket.
package minio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// readAttempts is how often a read is sent at most. The SDK waits 0-200 ms
// after the first failure, 0-400 ms after the second.
const readAttempts = 3

// Config says which bucket, and how to reach it.
type Config struct {
	Endpoint    string                   // host or host:port
	Secure      bool                     // https
	Bucket      string                   // its name
	Prefix      string                   // put, with a slash, before every key; "" for none
	Region      string                   // "": from the environment, the endpoint's name, or us-east-1
	Concurrency int                      // connections kept for Create, and for all else; 0: 64
	Credentials *credentials.Credentials // nil: the usual environment variables and files
}

// Store is a bucket, or a prefix of one. All methods may be called concurrently.
type Store struct {
	bucket string
	prefix string // "" or with a slash at its end
	region string
	url    string

	commits minio.Core // for Create: sends once
	reads   minio.Core // for all else
	idle    []*http.Transport
}

// Open prepares to use a bucket. It sends nothing to the store: whether the
// bucket is there, and what the store is worth, objstore.Probe finds out.
func Open(cfg Config) (*Store, error) {
	region, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
	}
	prefix, err := s3http.CheckPrefix(cfg.Prefix)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
	}
	connections, err := s3http.CheckConnections(cfg.Concurrency)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
	}
	creds := cfg.Credentials
	if creds == nil {
		creds = findCredentials(s3utils.IsAmazonEndpoint(cfg.endpointURL()))
	}
	s := &Store{bucket: cfg.Bucket, prefix: prefix, region: region, url: cfg.url()}
	commits := s3http.NewTransport(connections)
	reads := s3http.NewTransport(connections)
	s.idle = []*http.Transport{commits, reads}
	client := func(transport http.RoundTripper, attempts int) (minio.Core, error) {
		c, err := minio.New(cfg.Endpoint, &minio.Options{
			Creds: creds, Secure: cfg.Secure, Region: region, Transport: transport, MaxRetries: attempts,
		})
		if err != nil {
			return minio.Core{}, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
		}
		return minio.Core{Client: c}, nil
	}
	if s.commits, err = client(s3http.CommitTransport{Next: commits}, 1); err != nil {
		return nil, err
	}
	if s.reads, err = client(reads, readAttempts); err != nil {
		return nil, err
	}
	return s, nil
}

// check validates endpoint and bucket and returns the region to sign for.
func (c Config) check() (region string, err error) {
	if c.Endpoint == "" {
		return "", errors.New("no endpoint: give the store's host, or host:port")
	}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return "", err
	}
	for _, region := range []string{
		c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), s3utils.GetRegionFromURL(c.endpointURL()),
	} {
		if region != "" {
			return region, nil
		}
	}
	if s3utils.IsAmazonEndpoint(c.endpointURL()) {
		return "", errors.New("no region: set AWS_REGION, or use the region's endpoint, such as s3.eu-central-1.amazonaws.com")
	}
	return "us-east-1", nil
}

func (c Config) endpointURL() url.URL { return url.URL{Scheme: c.scheme(), Host: c.Endpoint} }

// url is the store as it is named on the command line.
func (c Config) url() string {
	u := "minio://" + strings.TrimSuffix(fmt.Sprintf("%s/%s/%s", c.Endpoint, c.Bucket, c.Prefix), "/")
	if !c.Secure {
		u += "?secure=false"
	}
	return u
}

func (c Config) scheme() string {
	if c.Secure {
		return "https"
	}
	return "http"
}

// EnsureBucket creates the bucket if it is missing. Losing to another creator
// of the same account is success.
func (s *Store) EnsureBucket(ctx context.Context) error {
	exists, err := s.reads.BucketExists(ctx, s.bucket)
	if err != nil {
		return fmt.Errorf("look for bucket %q: %w", s.bucket, classify(err))
	}
	if exists {
		return nil
	}
	err = s.reads.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: s.region})
	if err != nil && minio.ToErrorResponse(err).Code != s3http.BucketAlreadyOwnedByYou {
		return fmt.Errorf("create bucket %q: %w", s.bucket, classify(err))
	}
	return nil
}

// Close closes the connections that no call is using. Calls under way go on.
func (s *Store) Close() {
	for _, transport := range s.idle {
		transport.CloseIdleConnections()
	}
}

// String implements objstore.Store.
func (s *Store) String() string { return s.url }
