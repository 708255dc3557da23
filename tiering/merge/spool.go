package merge

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/varvelog/varve/tiering/segment/readback"
)

// chunk is the batches of one extent that a job keeps, as they lie in the spool.
type chunk struct {
	position int64
	length   uint32
	covers   int64 // the offset after the last one of the extent
	sum      readback.Sum

	// verbatim: all batches are copied as they are, and count in sum as their bytes.
	verbatim bool
	// wrongTimes: a batch names a greatest timestamp that is not the greatest of its
	// records, as those of old versions may. In a verbatim chunk that is not looked at.
	wrongTimes bool
}

// spool is the file in which a job gathers batches, in the order in which it reads them. Its
// outputs are sent from there.
type spool struct {
	file    File
	w       *bufio.Writer
	size    int64
	holders atomic.Int64 // the job, and uploads that may still read
}

// newSpool makes a file of a name of its own, because uploads of jobs before may still read
// theirs.
func (x *Executor) newSpool() (*spool, error) {
	f, err := x.opt.Disk.Create("spool-" + x.opt.NewID().String())
	if err != nil {
		return nil, fmt.Errorf("create the spool: %w", err)
	}
	s := &spool{file: f, w: bufio.NewWriterSize(f, 1<<20)}
	s.hold()
	return s, nil
}

func (s *spool) append(b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return fmt.Errorf("write to the spool: %w", err)
	}
	s.size += int64(len(b))
	return nil
}

// written makes all that was appended readable.
func (s *spool) written() error {
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("write to the spool: %w", err)
	}
	return nil
}

// read returns the bytes of a chunk, in room if that is large enough.
func (s *spool) read(c *chunk, room []byte) ([]byte, error) {
	if cap(room) < int(c.length) {
		room = make([]byte, c.length)
	}
	room = room[:c.length]
	return room, s.readAt(room, c.position)
}

func (s *spool) readAt(b []byte, at int64) error {
	n, err := s.file.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("read from the spool: %w", cmp.Or(err, io.ErrUnexpectedEOF))
}

func (s *spool) hold() { s.holders.Add(1) }

// release ends the use of one holder. The last one removes the file.
func (s *spool) release() error {
	if s.holders.Add(-1) > 0 {
		return nil
	}
	return s.file.Remove()
}
