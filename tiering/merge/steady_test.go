package merge

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"
)

// TestAnUploadKeepsThePaceInPieces: each waits, until the upload takes too long.
func TestAnUploadKeepsThePaceInPieces(t *testing.T) {
	const size = 20 * mib
	for _, c := range []struct {
		wait  time.Duration // for a piece
		waits int
	}{{time.Millisecond, 20}, {10 * time.Second, 4}} {
		w := newWorld(t, 1, 1)
		var taken []int64
		w.opt.Pace = func(_ context.Context, n int64) error {
			taken = append(taken, n)
			w.now = w.now.Add(c.wait)
			return nil
		}
		w.lead()
		s := w.merger.executor.steady(t.Context(), bytes.NewReader(make([]byte, size)))
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.NewSectionReader(s, 0, size)}, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		if err := s.settle(); err != nil {
			t.Fatal(err)
		}
		var all int64
		for _, n := range taken {
			all += n
		}
		if len(taken) != c.waits || all != size || slices.Max(taken[:len(taken)-1]) > 2*paceBytes {
			t.Errorf("pieces %d, want %d of them, and %d bytes in all", taken, c.waits, int64(size))
		}
	}
}
