package merge

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// steady is a file that is sent at the pace of tiering, piece by piece. A large upload at full
// speed, with a long pause after it, would hold up flushes. After paceTime the rest is sent at
// once, so that a slow pace does not make the upload fail, and settle accounts for it.
type steady struct {
	io.ReaderAt
	ctx   context.Context
	x     *Executor
	until time.Time
	owed  atomic.Int64 // bytes that were read, and have not been accounted for
}

const (
	paceBytes = mib
	paceTime  = 30 * time.Second
)

func (x *Executor) steady(ctx context.Context, f io.ReaderAt) *steady {
	return &steady{ReaderAt: f, ctx: ctx, x: x, until: x.opt.Clock.Now().Add(paceTime)}
}

// ReadAt implements io.ReaderAt, for one goroutine at a time.
func (s *steady) ReadAt(b []byte, at int64) (int, error) {
	if s.owed.Load() >= paceBytes && s.x.opt.Clock.Now().Before(s.until) {
		if err := s.settle(); err != nil {
			return 0, err
		}
	}
	n, err := s.ReaderAt.ReadAt(b, at)
	s.owed.Add(int64(n))
	return n, err
}

// settle waits for the bytes before, and accounts for those that were read.
func (s *steady) settle() error { return s.x.opt.Pace(s.ctx, s.owed.Swap(0)) }
