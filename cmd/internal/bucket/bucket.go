// Package bucket turns the URL of a bucket into a store.
//
// It owns the forms of a bucket URL. It promises that every part of a URL is
// either used or an error, and that a store it returns has a bucket that can be
// listed. It never writes an object, and accepts no credentials in a URL: those
// would end in logs and process lists.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/file"
	"github.com/varvelog/varve/tiering/objstore/minio"
	"github.com/varvelog/varve/tiering/objstore/s3"
)

const forms = "file:///path, minio://host:port/bucket/prefix?secure=true|false " +
	"or s3://bucket/prefix?region=...&endpoint=https://host:port&path-style=true|false"

// ErrURL: Open does not understand the URL. The error says why.
var ErrURL = errors.New("bad bucket URL")

// ErrSetup: the store cannot be used with its present settings; trying again
// does not help. The error's text names the cause.
var ErrSetup = errors.New("store cannot be used as it is set up")

// setupError is an ErrSetup.
type setupError struct{ error }

func (e setupError) Is(target error) bool { return target == ErrSetup }
func (e setupError) Unwrap() error        { return e.error }

// Open opens the bucket at a URL. If create is set, it first creates a missing
// bucket. Close releases the resources of the store.
func Open(ctx context.Context, rawURL string, create bool) (objstore.Store, error) {
	loc, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrURL, Redact(rawURL), err)
	}
	store, err := loc.open(ctx, create)
	if errors.Is(err, objstore.ErrNoBucket) && !create {
		return nil, fmt.Errorf("open bucket %s: %w; correct the URL, or create it", Redact(rawURL), objstore.ErrNoBucket)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Redact(rawURL), err)
	}
	return store, nil
}

// Close releases the connections of a store that Open returned, when it is not
// used any more.
func Close(store objstore.Store) {
	if c, ok := store.(interface{ Close() }); ok {
		c.Close()
	}
}

// Check returns why Open would not understand the URL, or nil. It opens
// nothing.
func Check(rawURL string) error {
	_, err := parse(rawURL)
	return err
}

// billing are the ends of the hosts of stores that bill each request: Amazon's, in its
// partitions, and Cloudflare's.
var billing = []string{".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".r2.cloudflarestorage.com"}

// Billed reports whether each request to the bucket at a URL is known to be billed. The
// URL of an open store, Store.String, also has an endpoint of the environment.
func Billed(rawURL string) bool {
	loc, err := parse(rawURL)
	switch {
	case err != nil:
		return false
	case loc.minio != nil:
		return bills("//" + loc.minio.Endpoint)
	case loc.s3 != nil:
		return loc.s3.Endpoint == "" || bills(loc.s3.Endpoint)
	}
	return false
}

func bills(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := "." + strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return slices.ContainsFunc(billing, func(end string) bool { return strings.HasSuffix(host, end) })
}

// location is a parsed URL: exactly one of its fields is set.
type location struct {
	folder string // absolute
	minio  *minio.Config
	s3     *s3.Config
}

func parse(raw string) (location, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return parsePlainPath(raw)
	}
	switch scheme {
	case "file":
		return parseFile(raw, rest)
	case "minio":
		return parseMinIO(raw)
	case "s3":
		return parseS3(raw)
	}
	return location{}, fmt.Errorf("%s:// is not supported; write %s", scheme, forms)
}

// parsePlainPath accepts a path that cannot be mistaken for anything else.
func parsePlainPath(raw string) (location, error) {
	if !filepath.IsAbs(raw) && !strings.HasPrefix(raw, "./") && !strings.HasPrefix(raw, "../") {
		return location{}, fmt.Errorf("write %s, or a path that begins with / or ./", forms)
	}
	folder, err := filepath.Abs(raw)
	if err != nil {
		return location{}, fmt.Errorf("make path absolute: %v", err)
	}
	return location{folder: folder}, nil
}

func parseFile(raw, rest string) (location, error) {
	if rest == "" {
		return location{}, errors.New("names no folder; write file:///path")
	}
	if !strings.HasPrefix(rest, "/") {
		absolute, err := filepath.Abs(rest)
		if err != nil {
			return location{}, fmt.Errorf("make path absolute: %v", err)
		}
		return location{}, fmt.Errorf("a file URL takes an absolute path; write file://%s", filepath.ToSlash(absolute))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return location{}, err
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return location{}, errors.New("nothing may follow the path of a file URL; write ? as %3F and # as %23")
	}
	return location{folder: filepath.Clean(filepath.FromSlash(u.Path))}, nil
}

// Redact removes a user and password from a URL, well-formed or not. It returns
// a text without them as it is.
func Redact(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if at := strings.LastIndexByte(rest, '@'); ok && at >= 0 {
		return scheme + "://..." + rest[at:]
	}
	return raw
}

func (l location) open(ctx context.Context, create bool) (objstore.Store, error) {
	switch {
	case l.minio != nil:
		store, err := minio.Open(*l.minio)
		if err != nil {
			return nil, setupError{err}
		}
		return lookInto(ctx, store, create)
	case l.s3 != nil:
		store, err := s3.Open(ctx, *l.s3)
		if err != nil {
			return nil, setupError{err}
		}
		return lookInto(ctx, store, create)
	}
	if create {
		if err := file.EnsureFolder(l.folder); err != nil {
			return nil, setupError{err}
		}
	}
	store, err := file.Open(l.folder)
	if err != nil {
		return nil, setupError{err} // not store: a nil *file.Store is not a nil interface
	}
	return store, nil
}

// remote is a store across the network.
type remote interface {
	objstore.Store
	EnsureBucket(ctx context.Context) error
	Close()
}

// errSeen ends a listing whose only purpose is to find out whether a bucket
// exists.
var errSeen = errors.New("seen")

// lookInto returns store if its bucket can be listed, and closes it otherwise.
func lookInto(ctx context.Context, store remote, create bool) (objstore.Store, error) {
	var err error
	if create {
		err = store.EnsureBucket(ctx)
	}
	if err == nil {
		err = store.List(ctx, "", "", func(objstore.Info) error { return errSeen })
	}
	if err != nil && !errors.Is(err, errSeen) {
		store.Close()
		return nil, err
	}
	return store, nil
}
