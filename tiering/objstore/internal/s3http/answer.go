package s3http

import (
	"net/http"

	"github.com/varvelog/varve/tiering/objstore"
)

// Error codes of S3, from the body of an answer.
const (
	noSuchKey               = "NoSuchKey"
	accessDenied            = "AccessDenied"
	noSuchBucket            = "NoSuchBucket"
	bucketAlreadyOwnedByYou = "BucketAlreadyOwnedByYou"
)

// unbatched are the codes of a store that takes no request to delete many objects: one
// that does not know it, and one that wants a checksum of another age.
var unbatched = map[string]bool{
	"NotImplemented":       true,
	"MethodNotAllowed":     true,
	"MissingContentMD5":    true,
	"MalformedPOSTRequest": true,
}

// unsupported reports whether an answer means that the store does not take such a
// request, and so has done nothing.
func unsupported(a Answer) bool {
	return a.Status == http.StatusNotImplemented || a.Status == http.StatusMethodNotAllowed || unbatched[a.Code]
}

// full are the codes of a store that has no room.
var full = map[string]bool{
	"XMinioStorageFull":              true,
	"XMinioAdminBucketQuotaExceeded": true,
	"QuotaExceeded":                  true,
}

// Sentinel returns the error of objstore that an answer means beyond doubt, or nil. The
// store must have sent the code: for a 404 both SDKs make one up when the body has none,
// as that of a proxy.
func Sentinel(status int, code string) error {
	switch status {
	case http.StatusNotFound:
		switch code {
		case noSuchKey:
			return objstore.ErrNotFound
		case noSuchBucket:
			return objstore.ErrNoBucket
		}
	case http.StatusPreconditionFailed:
		return objstore.ErrExists
	case http.StatusConflict:
		return objstore.ErrConflict
	case http.StatusForbidden, http.StatusUnauthorized:
		return objstore.ErrDenied
	case http.StatusRequestedRangeNotSatisfiable:
		return objstore.ErrRange
	case http.StatusInsufficientStorage:
		return objstore.ErrFull
	}
	if full[code] {
		return objstore.ErrFull
	}
	return nil
}
