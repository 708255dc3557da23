package wal

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Preallocate implements File. Reserving first keeps the file in one piece, and
// returns at once when the disk is full.
func (f osFile) Preallocate(size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return writeZeros(f, size)
}

// Sync implements File with fdatasync: the log does not need file times, and
// leaving them out saves a metadata write.
func (f osFile) Sync() error {
	if err := retry(func() error { return unix.Fdatasync(int(f.Fd())) }); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// WriteVec implements File.
func (f osFile) WriteVec(pieces [][]byte, off int64) error {
	if len(pieces) == 1 {
		_, err := f.WriteAt(pieces[0], off)
		return err
	}
	var n int
	err := retry(func() (err error) {
		n, err = unix.Pwritev(int(f.Fd()), pieces, off)
		return err
	})
	if err != nil {
		return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
	}
	return writeRest(f, pieces, off, n)
}

// writeRest writes the rest after a short write of n bytes.
func writeRest(f io.WriterAt, pieces [][]byte, off int64, n int) error {
	for _, p := range pieces {
		skip := min(n, len(p))
		n -= skip
		off += int64(skip)
		if skip == len(p) {
			continue
		}
		if _, err := f.WriteAt(p[skip:], off); err != nil {
			return err
		}
		off += int64(len(p) - skip)
	}
	return nil
}

// retry repeats a system call that a signal has interrupted before it had an
// effect.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
