package s3http

import (
	"net/http"

	"github.com/varvelog/varve/tiering/objstore"
)

// Error codes of S3, from the body of an answer.
const (
	noSuchKey               = "NoSuchKey"
	noSuchBucket            = "NoSuchBucket"
	bucketAlreadyOwnedByYou = "BucketAlreadyOwnedByYou"
)

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
