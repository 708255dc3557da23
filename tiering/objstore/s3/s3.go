// Package s3 is a bucket of Amazon S3, or of a store that speaks its protocol,
// by aws-sdk-go-v2.
//
// It owns the calls of that SDK; s3http.Store has everything else. It promises that a
// Create is one conditional PUT (If-None-Match: *), sent once, with a checksum that the
// store verifies. Only an unmistakable answer of the store becomes nil or one of
// objstore's errors. A 404 that no S3 server wrote, a 200 with an error in its body, a
// broken connection are all "unknown". It never uploads in parts, never lets the SDK
// repeat a Create, follows no redirect, and never logs or shows credentials.
//
// Reads are repeated a few times by the SDK when the store answers 5xx or the
// connection breaks before the answer; that changes nothing in the bucket.
//
// Environment and files of the AWS tools give the settings that the Config leaves open:
// credentials, region, endpoint (AWS_ENDPOINT_URL_S3), certificates (AWS_CA_BUNDLE). They
// change none of the promises above.
package s3

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/varvelog/varve/tiering/objstore/internal/s3http"
)

// Config says which bucket, and how to reach it.
type Config struct {
	Bucket      string                  // its name
	Prefix      string                  // put, with a slash, before every key; "" for none
	Region      string                  // "": from the environment and files, or us-east-1 at an endpoint
	Endpoint    string                  // http:// or https://, host, port; "": from the environment and files, or Amazon's
	PathStyle   bool                    // the bucket's name in the path, not in the host
	Concurrency int                     // connections kept for Create, and for all else; 0: 64
	Credentials aws.CredentialsProvider // nil: the usual environment variables, files and roles
}

// Store is a bucket, or a prefix of one. All methods may be called concurrently.
type Store = s3http.Store

// Open prepares to use a bucket. It reads environment and files but sends nothing to
// the store: objstore.Probe finds out whether the bucket exists, and whether the store
// keeps the contract.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open bucket %q: %w", cfg.Bucket, err)
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	base, roots, err := load(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s3http.Open(s3http.Config{Bucket: cfg.Bucket, Prefix: cfg.Prefix, Concurrency: cfg.Concurrency, Roots: roots},
		func(commits, reads http.RoundTripper) (s3http.Client, string, error) {
			c := &client{
				bucket:  cfg.Bucket,
				commits: newClient(base, cfg, commits, aws.NopRetryer{}),
				reads:   newClient(base, cfg, ownBody{reads}, readRetryer()),
			}
			options := c.reads.Options() // with region and endpoint of environment and files
			return c, describe(cfg, options), checkReach(options)
		})
}

// describe returns the URL of a store as it is reached, without credentials.
func describe(cfg Config, options s3.Options) string {
	query := url.Values{"region": {options.Region}}
	if endpoint := aws.ToString(options.BaseEndpoint); endpoint != "" {
		query.Set("endpoint", endpoint)
	}
	if cfg.PathStyle {
		query.Set("path-style", strconv.FormatBool(true))
	}
	u := url.URL{Scheme: "s3", Host: cfg.Bucket, Path: cfg.Prefix}
	if cfg.Prefix != "" {
		u.Path = "/" + cfg.Prefix
	}
	// Endpoints read better as they are written: nothing in one, checked,
	// means anything in a query.
	text, _ := url.QueryUnescape(query.Encode())
	return u.String() + "?" + text
}
