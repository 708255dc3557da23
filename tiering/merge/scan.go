package merge

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// scanner reads the batches of a merged extent in their order, in pieces of readBytes.
type scanner struct {
	x    *Executor
	e    *partlog.Extent
	walk batch.Walker
	crc  uint32
}

// Scan calls fn for each batch of a merged extent, until fn returns false. b is valid
// during the call. The checksum of each batch is checked before, that of the extent after
// the last one: only then it is known that the offsets of the batches were right.
//
// Unreadable reports whether an error is one of damage.
func (m *Merger) Scan(ctx context.Context, e *partlog.Extent, fn func(b []byte, h *batch.Header) (more bool, err error)) error {
	return m.executor.scan(ctx, e, fn)
}

func (x *Executor) scan(ctx context.Context, e *partlog.Extent, fn func(b []byte, h *batch.Header) (more bool, err error)) error {
	s := scanner{x: x, e: e, walk: batch.NewWalker(e.Place())}
	want := readBytes
	for s.walk.Left() > 0 {
		b, err := x.part(ctx, e.Object, s.walk.Position(), min(want, s.walk.Left()))
		if err != nil {
			return err
		}
		if err := x.opt.Pace(ctx, int64(len(b))); err != nil {
			return err
		}
		used, more, err := s.batches(b, fn)
		if err != nil || !more {
			return err
		}
		if want = readBytes; used == 0 {
			h, _ := batch.Parse(b) // the next batch is larger than the piece
			want = int64(h.Size())
		}
	}
	if s.crc != e.CRC {
		return fmt.Errorf("%w: %d bytes at position %d of %s do not have their CRC", errSource, e.Length, e.Position, e.Object.Key())
	}
	return nil
}

// batches calls fn for the batches that are whole in b, and returns how many bytes they
// have.
func (s *scanner) batches(b []byte, fn func([]byte, *batch.Header) (bool, error)) (used int, more bool, err error) {
	for used < len(b) {
		if s.cut(b[used:]) {
			return used, true, nil
		}
		h, err := s.walk.Check(b[used:])
		if err != nil {
			return used, false, fmt.Errorf("%w: %s: %w", errSource, s.e.Object.Key(), err)
		}
		whole := b[used : used+h.Size()]
		s.crc = crc32.Update(s.crc, castagnoli, whole)
		if more, err := fn(whole, &h); err != nil || !more {
			return used, false, err
		}
		s.walk.Skip(&h)
		used += h.Size()
	}
	return used, true, nil
}

// cut reports whether a batch goes on behind b, where more bytes of the extent follow.
func (s *scanner) cut(b []byte) bool {
	if int64(len(b)) >= s.walk.Left() {
		return false
	}
	if len(b) < batch.HeaderSize {
		return true
	}
	h, err := batch.Parse(b)
	return errors.Is(err, batch.ErrShort) && int64(h.Size()) <= s.walk.Left()
}

// Unreadable reports whether an error says that a source is missing or damaged.
func Unreadable(err error) bool { return errors.Is(err, errSource) }
