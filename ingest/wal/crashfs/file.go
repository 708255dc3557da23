package crashfs

import (
	"errors"
	"io"
	"slices"
	"syscall"
)

// handle is an open file.
type handle struct {
	fs       *FS
	path     string // when it was opened
	node     *node
	writable bool
	closed   bool
}

// do runs an operation on the open file under the disk's lock.
func (h *handle) do(kind string, op func() error) error {
	return h.fs.do(kind, h.path, func() error {
		if h.closed {
			return errors.New("file is closed")
		}
		return op()
	})
}

// ReadAt implements wal.File.
func (h *handle) ReadAt(b []byte, off int64) (n int, err error) {
	short := false
	err = h.do("read", func() error {
		if off < int64(len(h.node.data)) {
			n = copy(b, h.node.data[off:])
		}
		short = n < len(b)
		return nil
	})
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// WriteAt implements wal.File.
func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if err := h.WriteVec([][]byte{b}, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

// WriteVec implements wal.File.
func (h *handle) WriteVec(pieces [][]byte, off int64) error {
	return h.do("write", func() error { return h.write(slices.Concat(pieces...), off) })
}

// Preallocate implements wal.File.
func (h *handle) Preallocate(size int64) error {
	return h.do("preallocate", func() error {
		if len(h.node.data) > 0 {
			return errors.New("file is not empty")
		}
		return h.write(make([]byte, size), 0)
	})
}

func (h *handle) write(b []byte, off int64) error {
	if !h.writable {
		return syscall.EBADF
	}
	w := write{off, b}
	h.node.data = w.apply(h.node.data, 0, len(b))
	h.node.writes = append(h.node.writes, w)
	return nil
}

// apply copies the bytes [from, to) of the write into data, which grows as
// needed.
func (w write) apply(data []byte, from, to int) []byte {
	if grow := w.off + int64(to) - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	copy(data[w.off+int64(from):], w.data[from:to])
	return data
}

// Sync implements wal.File. When it fails, the writes before it are lost: the
// system has marked them clean, and the next Sync will not write them.
func (h *handle) Sync() error {
	err := h.do("sync", func() error {
		for _, w := range h.node.writes {
			h.node.synced = w.apply(h.node.synced, 0, len(w.data))
		}
		h.node.writes = nil
		return nil
	})
	if err != nil {
		h.fs.mu.Lock()
		defer h.fs.mu.Unlock()
		h.node.writes = nil
	}
	return err
}

// Size implements wal.File.
func (h *handle) Size() (size int64, err error) {
	err = h.do("size", func() error {
		size = int64(len(h.node.data))
		return nil
	})
	return size, err
}

// Close implements wal.File.
func (h *handle) Close() error {
	return h.do("close", func() error {
		h.closed = true
		h.fs.handles--
		return nil
	})
}
