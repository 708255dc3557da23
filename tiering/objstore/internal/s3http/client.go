package s3http

import (
	"context"
	"io"
	"iter"

	"github.com/varvelog/varve/tiering/objstore"
)

// Client sends the requests for one bucket through an SDK. The names of objects are
// those in the bucket. Its errors are the SDK's own: only Answer reads them.
type Client interface {
	// Put sends one conditional PUT (If-None-Match: *), once, of the size bytes of body
	// and with the checksum sum in its signed headers. It returns the ETag and the
	// checksum of the answer, "" for none. A Read of body fails after Put has returned.
	//
	// The payload is not signed (X-Amz-Content-Sha256: UNSIGNED-PAYLOAD), which costs
	// a third of the CPU of a signed one. The checksum protects the payload instead:
	// the store compares it with the bytes that arrived.
	Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum string) (etag, confirmed string, err error)

	// Get sends a GET, with a Range header unless byteRange is "". The caller closes
	// the body.
	Get(ctx context.Context, name, byteRange string) (Body, error)

	// Objects lists the objects whose names start with prefix and are greater than
	// startAfter, in the order of the answers. An error ends it.
	Objects(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Info, error]

	// Remove deletes an object.
	Remove(ctx context.Context, name string) error

	// RemoveAll deletes objects in one request, and returns the entries of the answer.
	// Some objects may have none.
	RemoveAll(ctx context.Context, names []string) ([]Removal, error)

	// Versioning returns the status of the bucket's versioning, "" for none. Lock returns
	// Object Lock's default retention for people, "enabled" without a default, "" for none.
	// Lifecycle returns the rules. Where a bucket has no such setting, stores answer with
	// an error of that code.
	Versioning(ctx context.Context) (string, error)
	Lock(ctx context.Context) (string, error)
	Lifecycle(ctx context.Context) ([]Lifecycle, error)

	// BucketExists looks for the bucket, and MakeBucket creates it.
	BucketExists(ctx context.Context) (bool, error)
	MakeBucket(ctx context.Context) error

	// Answer returns the answer that an error stands for, or the zero value if the
	// store did not answer.
	Answer(err error) Answer
}

// Body is the body of an answer to a GET.
type Body struct {
	io.ReadCloser
	Size         int64  // in bytes, or -1 if the answer does not say
	ContentRange string // the header of that name
}

// Removal is the entry of one object in the answer to a RemoveAll.
type Removal struct {
	Name    string
	Code    string // of the error; "" if the object is gone
	Message string
}

// Answer is an answer that reports an error.
type Answer struct {
	Status int
	Code   string // from the body; "" unless the store itself wrote it
	Note   string // more for people, or ""
}
