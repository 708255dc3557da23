// Package minio is a bucket of an S3-compatible store, by the minio-go client.
//
// It owns the calls of that client; s3http.Store has everything else. It promises that a
// Create is one conditional PUT (If-None-Match: *), sent once, with a checksum that the
// store verifies. Only an unmistakable answer of the store becomes nil or one of
// objstore's errors. A 404 that no S3 server wrote, a 200 with an error in its body, a
// broken connection are all "unknown". It never uploads in parts, never lets the SDK
// repeat a Create, and never logs or shows credentials.
//
// Reads are repeated a few times by the SDK when the store answers 5xx or the
// connection breaks before the answer; that changes nothing in the bucket.
package minio

import (
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
type Store = s3http.Store

// Open prepares to use a bucket. It sends nothing to the store: objstore.Probe finds
// out whether the bucket exists, and whether the store keeps the contract.
func Open(cfg Config) (*Store, error) {
	s, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
	}
	return s, nil
}

func open(cfg Config) (*Store, error) {
	region, err := cfg.check()
	if err != nil {
		return nil, err
	}
	creds := cfg.Credentials
	if creds == nil {
		creds = findCredentials(s3utils.IsAmazonEndpoint(cfg.endpointURL()))
	}
	core := func(transport http.RoundTripper, attempts int) (minio.Core, error) {
		c, err := minio.New(cfg.Endpoint, &minio.Options{
			Creds: creds, Secure: cfg.Secure, Region: region, Transport: transport, MaxRetries: attempts,
		})
		return minio.Core{Client: c}, err
	}
	return s3http.Open(s3http.Config{Bucket: cfg.Bucket, Prefix: cfg.Prefix, Concurrency: cfg.Concurrency},
		func(commits, reads http.RoundTripper) (s3http.Client, string, error) {
			c := &client{bucket: cfg.Bucket, region: region}
			if c.commits, err = core(commits, 1); err != nil {
				return nil, "", err
			}
			if c.reads, err = core(reads, readAttempts); err != nil {
				return nil, "", err
			}
			return c, cfg.url(), nil
		})
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

// url is the name of the store on the command line.
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
