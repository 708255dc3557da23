package readback

import (
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"io"
)

// readSize is how many bytes are read from an object at once.
const readSize = 8 << 20

// window reads an object from its start to its end, each byte once, in large pieces.
type window struct {
	src  io.ReaderAt
	size int64
	buf  []byte
	b    []byte // read and not taken yet
	at   int64  // where b begins
	sha  hash.Hash
	crc  uint32
	peek []byte
}

func (w *window) open(src io.ReaderAt, size int64) {
	w.src, w.size, w.b, w.at = src, size, nil, 0
	if w.sha == nil {
		w.sha = sha256.New()
	}
	w.sha.Reset()
	w.crc = 0
	if n := int(min(size, readSize)); cap(w.buf) < n || cap(w.buf) > 2*readSize {
		w.buf = make([]byte, n)
	}
}

// hold returns the next n bytes without taking them. They stay until more are held.
func (w *window) hold(n int) ([]byte, error) {
	if n > len(w.b) {
		if int64(n) > w.size-w.at {
			return nil, wrong("%d bytes at %d of an object of %d", n, w.at, w.size)
		}
		space := w.buf[:cap(w.buf)]
		if n > len(space) {
			space = make([]byte, n)
		}
		have := copy(space, w.b)
		space = space[:min(int64(len(space)), w.size-w.at)]
		if err := readAt(w.src, space[have:], w.at+int64(have)); err != nil {
			return nil, err
		}
		w.buf, w.b = space, space
	}
	return w.b[:n], nil
}

// take returns the next n bytes.
func (w *window) take(n int) ([]byte, error) {
	b, err := w.hold(n)
	if err != nil {
		return nil, err
	}
	w.sha.Write(b)
	w.crc = crc32.Update(w.crc, castagnoli, b)
	w.b, w.at = w.b[n:], w.at+int64(n)
	return b, nil
}

// ahead returns n bytes further on, or those of the window, until it is called again.
func (w *window) ahead(at int64, n int) ([]byte, error) {
	if from := at - w.at; from >= 0 && from+int64(n) <= int64(len(w.b)) {
		return w.b[from:][:n], nil
	}
	if int64(n) > w.size-at {
		return nil, wrong("%d bytes at %d of an object of %d", n, at, w.size)
	}
	w.peek = append(w.peek[:0], make([]byte, n)...)
	return w.peek, readAt(w.src, w.peek, at)
}

func readAt(src io.ReaderAt, b []byte, at int64) error {
	n, err := src.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return wrong("%d bytes at %d, not %d: the object is cut short", n, at, len(b))
	}
	return err
}
