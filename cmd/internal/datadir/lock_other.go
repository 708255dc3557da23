//go:build !linux

package datadir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock until f is closed, or reports that another process has
// it.
func lock(f *os.File) (held bool, err error) {
	return try(f, unix.LOCK_EX)
}

// locked reports whether a process has the lock. flock(2) can only be queried
// by taking it: a node that starts in the same instant may be refused.
func locked(f *os.File) (bool, error) {
	return try(f, unix.LOCK_SH)
}

func try(f *os.File, how int) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
