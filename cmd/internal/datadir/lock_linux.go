package datadir

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The lock is an open file description lock of the whole file
// (fcntl_locking(2)). Unlike a lock of flock(2), it can be queried without
// being taken.

// lock takes the lock until f is closed, or reports that another process has
// it.
func lock(f *os.File) (held bool, err error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return true, nil
	}
	return false, err
}

// locked reports whether a process has the lock.
func locked(f *os.File) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return err == nil && l.Type != unix.F_UNLCK, err
}
