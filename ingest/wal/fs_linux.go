package wal

import (
	"golang.org/x/sys/unix"
)

// Preallocate implements File.
func (f osFile) Preallocate(size int64) error { return writeZeros(f, size) }

// Sync implements File with fdatasync: file times are of no use to the log,
// and leaving them out saves a metadata write.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
