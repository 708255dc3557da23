package file

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// directSize is the least size of an object that is written without the page cache.
	// A smaller one is synced at once as well, and costs little.
	directSize = 1 << 20
	// block divides the address in memory, the offset and the length of a direct write,
	// so that file systems and disks accept it.
	block = 4 << 10
)

// Write implements diskFile. Large data goes from memory to the disk, without a copy in
// the page cache: making and reclaiming those pages cost more CPU than all else in a
// Create. Leaders serve new records from their own memory. Where the file system or the
// place of data in memory does not allow that, it is an ordinary write.
func (f osFile) Write(data []byte) (int, error) {
	whole := len(data) &^ (block - 1)
	if whole < directSize || uintptr(unsafe.Pointer(&data[0]))%block != 0 {
		return f.File.Write(data)
	}
	// In one piece, and without blocks that are added later. A full disk shows here; any
	// other refusal only costs speed.
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, at, int64(len(data))); errors.Is(err, unix.ENOSPC) {
		return 0, &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	n := 0
	if f.setDirect(true) == nil {
		var err error
		n, err = f.File.Write(data[:whole])
		if err != nil && !errors.Is(err, unix.EINVAL) { // refused only now, or cut short
			return n, err
		}
		if err := f.setDirect(false); err != nil {
			return n, err
		}
	}
	m, err := f.File.Write(data[n:])
	return n + m, err
}

// setDirect sets whether writes pass the page cache by.
func (f osFile) setDirect(on bool) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		flags &^= unix.O_DIRECT
		if on {
			flags |= unix.O_DIRECT
		}
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags)
	}
	if err != nil {
		return &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
	}
	return nil
}
