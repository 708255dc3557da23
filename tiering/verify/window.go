package verify

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"

	"github.com/varvelog/varve/tiering/objstore"
)

const (
	// windowRead is how many bytes of a merged segment one request reads.
	windowRead = 8 << 20
	// windowSize has room for that and for the start of a batch before it.
	windowSize = windowRead + 1<<20
)

// window goes over an object from its start to its end. It reads each byte once, in large
// pieces. Its memory is that of one piece and of the most bytes that are held at once.
type window struct {
	read func(at int64, dst []byte) error
	size int64 // of the object
	room []byte
	b    []byte // read and not taken yet, in room
	at   int64  // where b begins
	sha  hash.Hash
	crc  uint32 // CRC-32C of the bytes taken since it was set to 0
}

// newWindow returns a window at the start of an object. It uses room as far as that is
// enough.
func newWindow(size int64, room []byte, read func(at int64, dst []byte) error) *window {
	return &window{read: read, size: size, room: room, sha: sha256.New()}
}

// hold returns the next n bytes without taking them. They are valid until the next call.
func (w *window) hold(n int64) ([]byte, error) {
	if n > w.size-w.at {
		return nil, fmt.Errorf("%w: %d bytes at %d of an object of %d", objstore.ErrRange, n, w.at, w.size)
	}
	for n > int64(len(w.b)) {
		have := int64(len(w.b))
		more := min(windowRead, w.size-w.at-have)
		if have+more > int64(len(w.room)) {
			w.room = make([]byte, max(have+more, min(windowSize, w.size)))
		}
		copy(w.room, w.b)
		w.b = w.room[:have]
		if err := w.read(w.at+have, w.room[have:have+more]); err != nil {
			return nil, err
		}
		w.b = w.room[:have+more]
	}
	return w.b[:n], nil
}

// take returns the next n bytes. They are valid until the next call.
func (w *window) take(n int64) ([]byte, error) {
	b, err := w.hold(n)
	if err != nil {
		return nil, err
	}
	w.sha.Write(b)
	w.crc = crc32.Update(w.crc, castagnoli, b)
	w.b, w.at = w.b[n:], w.at+n
	return b, nil
}

// skipTo takes all bytes before a position.
func (w *window) skipTo(at int64) error {
	for w.at < at {
		n := int64(len(w.b))
		if n == 0 {
			n = min(windowRead, w.size-w.at)
		}
		if _, err := w.take(min(n, at-w.at)); err != nil {
			return err
		}
	}
	return nil
}
