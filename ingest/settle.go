package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// settlement is about the batches that clients may have an answer for, or asked for
// none, before they are committed: those with acks=1 and acks=0. A client that writes
// so and then asks where the log ends would miss its own records for as long as a
// flush waits. Its question waits for them instead, and makes the flush due.
type settlement struct {
	promised uint64      // LSN up to which batches are of that kind
	open     atomic.Bool // promised is not committed; written by the owner of core
	waiting  []settler
}

// settler waits until everything up to an LSN is committed.
type settler struct {
	until uint64
	done  func(error)
}

// Settle returns nil once everything that was acknowledged before the call is
// committed and applied, and makes the flush of it due. It asks nothing of the store if
// there is nothing to wait for.
func (l *Leader) Settle(ctx context.Context) error {
	if !l.core.answers.unsettled() {
		return nil
	}
	done := make(chan error, 1)
	result, err := ask(ctx, l, func() { l.core.settle(func(err error) { done <- err }) }, done)
	switch {
	case err == nil:
		return result
	case errors.Is(err, ErrNotLeader):
		return err
	}
	return fmt.Errorf("%w: acknowledged records are not committed yet: %w", ErrUnavailable, err)
}

// settle calls done once everything that clients may take for stored is committed.
func (c *core) settle(done func(error)) {
	switch {
	case c.failed != nil:
		done(c.failed)
	case c.answers.settled():
		done(nil)
	case c.stalled:
		done(ErrUnavailable)
	default:
		c.answers.settlement.await(done)
	}
}

// promise notes that clients may take batches up to an LSN for stored, and how much of
// that is committed.
func (s *settlement) promise(lsn, committed uint64) {
	s.promised = max(s.promised, lsn)
	s.open.Store(s.promised > committed)
}

// await calls done once all batches promised until now are committed.
func (s *settlement) await(done func(error)) {
	s.waiting = append(s.waiting, settler{until: s.promised, done: done})
}

// awaited reports whether callers wait.
func (s *settlement) awaited() bool { return len(s.waiting) > 0 }

// release answers callers that wait for no more than is committed. It runs between two
// events: an answer may ask the journal something, which may not be done while objects
// are applied.
func (s *settlement) release(committed uint64) {
	n := 0
	for n < len(s.waiting) && s.waiting[n].until <= committed {
		n++
	}
	ready := slices.Clone(s.waiting[:n]) // done may ask for more
	s.waiting = slices.Delete(s.waiting, 0, n)
	for _, w := range ready {
		w.done(nil)
	}
}

// fail answers all callers that wait with err.
func (s *settlement) fail(err error) {
	waiting := s.waiting
	s.waiting = nil
	for _, w := range waiting {
		w.done(err)
	}
}
