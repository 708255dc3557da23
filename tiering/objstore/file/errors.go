package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/varvelog/varve/tiering/objstore"
)

var errIsParent = errors.New("the key is a folder of other objects: a file store cannot hold both")

// explain says which operation failed, and where.
func (s *Store) explain(verb, key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(s.root); errors.Is(statErr, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", objstore.ErrNoBucket, err)
		}
	}
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("a part of the key is an object itself: a file store cannot hold both: %w", err)
	}
	return fmt.Errorf("%s object %q in %s: %w", verb, key, s.root, classify(err))
}

// classify adds the sentinel that callers decide on, and a remedy where there
// is one.
func classify(err error) error {
	switch {
	case unwritable(err):
		return fmt.Errorf("%w: %w", objstore.ErrDenied, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: free space or raise the quota: %w", objstore.ErrFull, err)
	}
	return err
}

// unwritable reports whether a folder may only be read.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
