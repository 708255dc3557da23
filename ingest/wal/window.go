package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// readAhead is how much a window reads at once, in bytes.
const readAhead = 1 << 20

// window reads a file forward through a buffer as long as the longest record
// seen, or readAhead.
type window struct {
	file File
	path string
	size int64
	buf  []byte // the bytes from off
	off  int64
}

// openWindow opens a file for reading.
func openWindow(fsys FS, path string) (*window, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open write-ahead file: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("size of %s: %w", path, err), f.Close())
	}
	return &window{file: f, path: path, size: size}, nil
}

// holds reports whether the file has n bytes at off.
func (w *window) holds(off int64, n int) bool { return off+int64(n) <= w.size }

// bytes returns n bytes at off, which the file must hold; they are valid until
// the next call. Fewer bytes than the size of the file promised are an error,
// not an end.
func (w *window) bytes(off int64, n int) ([]byte, error) {
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		i := int(off - w.off)
		return w.buf[i : i+n], nil
	}
	want := int(min(int64(max(n, readAhead)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf, w.off = w.buf[:want], off
	got, err := w.file.ReadAt(w.buf, off)
	if got == want {
		return w.buf[:n], nil
	}
	w.buf = w.buf[:0]
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("read %s: %d of %d bytes at %d: %w", w.path, got, want, off, err)
}
