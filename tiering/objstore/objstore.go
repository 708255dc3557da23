// Package objstore is the bucket: the contract between varve and an object store, and
// the probe that finds out whether a store keeps it.
//
// It owns the contract below and nothing else; the drivers are the packages beneath it
// (file, mem, minio, s3). It promises that an error never looks like an answer. A
// missing key is ErrNotFound only when the store said so, and a Create without a plain
// success is not a success. It never retries a Create, never overwrites an object, and
// never decides anything from the order or completeness of a listing.
package objstore

import (
	"context"
	"errors"
	"time"
)

// Errors that callers decide on. Drivers wrap them with the key and the
// store's own words; test with errors.Is. Any other error means that nothing is
// known about the operation.
var (
	// ErrNotFound: the store answered that there is no object at the key.
	ErrNotFound = errors.New("object not found")
	// ErrExists: Create found an object at the key. It may be the caller's own,
	// stored by an earlier send of the same bytes: read it back to know.
	ErrExists = errors.New("object exists")
	// ErrConflict: another operation on the key was in flight; nothing was decided.
	ErrConflict = errors.New("conflicting operation in flight")
	// ErrDenied: credentials are missing, wrong or not allowed to do this.
	ErrDenied = errors.New("access denied")
	// ErrFull: the store has no room for the object, or a quota is used up.
	ErrFull = errors.New("no space left in the store")
	// ErrNoBucket: the bucket (for file stores the folder) does not exist.
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrRange: the range asked for reaches beyond the object, or the store
	// returned fewer bytes than it announced.
	ErrRange = errors.New("range not in object")
)

// Info describes one object in a listing.
type Info struct {
	Key      string    // relative to the store's prefix
	Size     int64     // bytes
	Modified time.Time // by the store's clock
}

// Store is a bucket, or a prefix of one. Keys are relative to that prefix,
// slash-separated, without a leading slash; CheckKey says which are valid. All
// methods may be called concurrently and return promptly with an error when ctx
// ends.
//
// Assumptions about every store: Create is atomic, so exactly one of many creators of a
// key succeeds, and Get returns the winner's bytes. A Get that begins after a Create
// succeeded sees the object. Probe checks both.
type Store interface {
	// Create stores data at key if there is no object there, in a single request
	// that is sent once: it is never retried below this call.
	//
	// nil means that the store confirmed that this call created the object.
	// Every error, ErrExists included, leaves open whether the bytes are, or
	// will later be, at the key: the request may have landed, or may still land
	// after Create has returned. The driver and its transport may read the bytes
	// until the driver calls body.Release, which may be long after that. Until then
	// the caller must not change them; without a Release, never again.
	Create(ctx context.Context, key string, body Body) error

	// Get returns the whole object. The caller owns the slice.
	Get(ctx context.Context, key string) ([]byte, error)

	// GetRange fills dst with the object's bytes from offset, or returns ErrRange.
	// The length of dst is at least 1 and at most MaxSize. After an error dst holds
	// any bytes. Nothing writes to dst after GetRange has returned, whatever it
	// returned.
	GetRange(ctx context.Context, key string, offset int64, dst []byte) error

	// GetTail returns the last n bytes of the object, or all of a smaller one, and the
	// object's size. n is at least 1. It is one request; S3 needs a second one if the
	// object is empty. The caller owns the slice.
	GetTail(ctx context.Context, key string, n int64) (tail []byte, size int64, err error)

	// List calls fn for every object whose key starts with prefix and is
	// greater than startAfter, in key order, until fn returns an error, which
	// List returns. A listing is a hint: nothing may be decided from an absence.
	List(ctx context.Context, prefix, startAfter string, fn func(Info) error) error

	// Delete removes the object. A missing object is not an error.
	Delete(ctx context.Context, key string) error

	// String names the store for people, without credentials: the URL it was
	// opened with.
	String() string
}
