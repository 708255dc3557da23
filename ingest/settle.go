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
// flush waits. Its question waits for them instead, and lets the flush be due.
type settlement struct {
	promised uint64      // LSN up to which that is so of batches
	open     atomic.Bool // promised is not committed; written by the owner of core
	waiting  []settler
}

// settler waits until everything up to an LSN is committed.
type settler struct {
	until uint64
	done  func(error)
}

// Settle returns nil once everything that was acknowledged before the call is
// committed and applied, and sees to it that it is flushed. It asks nothing of the
// store where there is nothing to wait for.
func (l *Leader) Settle(ctx context.Context) error {
	if !l.core.settlement.open.Load() {
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
	return fmt.Errorf("%w: what was acknowledged is not committed yet: %w", ErrUnavailable, err)
}

// promise notes that batches up to an LSN count as written for clients before they
// are committed. It is called with 0 when more is committed.
func (c *core) promise(lsn uint64) {
	s := &c.settlement
	s.promised = max(s.promised, lsn)
	s.open.Store(s.promised > c.committed)
}

// settle calls done once what is promised is committed.
func (c *core) settle(done func(error)) {
	s := &c.settlement
	switch {
	case c.failed != nil:
		done(c.failed)
	case s.promised <= c.committed:
		done(nil)
	case c.stalled:
		done(ErrUnavailable)
	default:
		s.waiting = append(s.waiting, settler{until: s.promised, done: done})
	}
}

// settleDue reports whether a flush is due for callers that wait. One object at a
// time is sent for them, whatever their number: they cause no more PUTs than the store
// takes one after the other.
func (c *core) settleDue() bool {
	return len(c.settlement.waiting) > 0 && len(c.inFlight) == 0
}

// answerSettlers answers callers that wait for no more than is committed. It runs
// between two events: an answer may ask the journal something, which may not be done
// while objects are applied.
func (c *core) answerSettlers() {
	s := &c.settlement
	n := 0
	for n < len(s.waiting) && s.waiting[n].until <= c.committed {
		n++
	}
	ready := slices.Clone(s.waiting[:n]) // done may ask for more
	s.waiting = slices.Delete(s.waiting, 0, n)
	for _, w := range ready {
		w.done(nil)
	}
}

// failSettlers answers all callers that wait with err.
func (c *core) failSettlers(err error) {
	waiting := c.settlement.waiting
	c.settlement.waiting = nil
	for _, w := range waiting {
		w.done(err)
	}
}
