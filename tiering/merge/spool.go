package merge

import (
	"bufio"
	"fmt"

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

// spool is the file in which a job gathers batches, in the order in which it reads them.
type spool struct {
	file File
	w    *bufio.Writer
	size int64
}

func newSpool(disk Disk) (*spool, error) {
	f, err := disk.Create("spool")
	if err != nil {
		return nil, fmt.Errorf("create the spool: %w", err)
	}
	return &spool{file: f, w: bufio.NewWriterSize(f, 1<<20)}, nil
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
	if _, err := s.file.ReadAt(room, c.position); err != nil {
		return nil, fmt.Errorf("read from the spool: %w", err)
	}
	return room, nil
}

func (s *spool) remove() error { return s.file.Remove() }
