package merge

import (
	"cmp"
	"io"
	"slices"
)

// image is the bytes of an object as they are sent. Those of batches lie in the spool, all
// others in memory. So a job has its records on disk once.
type image struct {
	spool  *spool
	pieces []piece // back to back
	size   int64
	memory []byte
	next   int64 // where the bytes that are written next lie in the spool; inMemory if they do not
}

// piece is a part of an image.
type piece struct {
	at      int64 // in the object
	place   int64 // in the spool, or in memory
	spooled bool
}

const inMemory = -1

// Write implements io.Writer. The bytes of batches must be those of the spool.
func (m *image) Write(b []byte) (int, error) {
	p := piece{at: m.size, place: int64(len(m.memory))}
	if m.next != inMemory {
		p.place, p.spooled = m.next, true
		m.next += int64(len(b))
	} else {
		m.memory = append(m.memory, b...)
	}
	if n := len(m.pieces); n == 0 || !m.pieces[n-1].goesOnWith(p) {
		m.pieces = append(m.pieces, p)
	}
	m.size += int64(len(b))
	return len(b), nil
}

func (p piece) goesOnWith(q piece) bool {
	return p.spooled == q.spooled && q.place-p.place == q.at-p.at
}

// ReadAt implements io.ReaderAt. It may be called by several goroutines at once.
func (m *image) ReadAt(b []byte, at int64) (n int, err error) {
	i, found := slices.BinarySearchFunc(m.pieces, at, func(p piece, at int64) int { return cmp.Compare(p.at, at) })
	if !found {
		i--
	}
	for ; n < len(b) && at < m.size; i++ {
		p, end := m.pieces[i], m.size
		if i+1 < len(m.pieces) {
			end = m.pieces[i+1].at
		}
		part := b[n:min(len(b), n+int(end-at))]
		if p.spooled {
			err = m.spool.readAt(part, p.place+at-p.at)
		} else {
			copy(part, m.memory[p.place+at-p.at:])
		}
		if err != nil {
			return n, err
		}
		n, at = n+len(part), at+int64(len(part))
	}
	if n < len(b) {
		err = io.EOF
	}
	return n, err
}
