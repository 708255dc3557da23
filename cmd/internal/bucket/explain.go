package bucket

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/varvelog/varve/tiering/objstore"
)

// Explain describes in a few words the fault of the bucket behind a failed request,
// and the remedy.
func Explain(err error) (fault, advice string) {
	var network net.Error
	switch {
	case errors.Is(err, objstore.ErrNoBucket):
		return "the bucket does not exist", "restore it, or start the node with the right --bucket"
	case errors.Is(err, syscall.EROFS):
		return "the bucket is read-only", "mount it writable"
	case errors.Is(err, objstore.ErrDenied), errors.Is(err, fs.ErrPermission):
		return "the bucket denies access", "check credentials and policy, or owner and mode of the folder"
	case errors.Is(err, objstore.ErrFull):
		const remedy = "free space or raise the quota"
		if strings.Contains(err.Error(), remedy) { // the errors of some stores have it
			return "the bucket is full", "nothing was lost"
		}
		return "the bucket is full", remedy + "; nothing was lost"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "file descriptors are used up", "allow the process more open files (ulimit -n, or LimitNOFILE in its unit)"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "the bucket does not answer in time", "check the store and the network"
	case errors.As(err, &network), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return "the bucket cannot be reached", "check that the store runs, and the network"
	}
	return "the bucket fails", "check the store"
}
