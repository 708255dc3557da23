package ingest

import (
	"time"

	"github.com/varvelog/varve/tiering/journal"
)

// This part of machine hands the journal over (metadata/CLUSTER.md, rule 47).

// beginHandOver has the leadership end with an end entry as soon as all accepted batches
// are committed. It takes requests until one flush is left, and answers them by the bucket.
func (m *machine) beginHandOver(e journal.End) error {
	switch {
	case m.failed != nil:
		return m.failed
	case !m.accepting || m.closing || m.next != nil:
		return ErrUnavailable
	}
	m.next, m.behind, m.takesUntil = &e, m.answers.appended, time.Time{}
	return nil
}

// handOverTakes is how long requests are taken at most while more than one flush is left, from
// when all is committed that was accepted before the hand-over. They may come faster than they
// are flushed, without end.
const handOverTakes = 2 * time.Second

// stopHandingOver takes no more requests when one flush is left, or after a while.
func (m *machine) stopHandingOver() {
	if m.next == nil {
		return
	}
	if m.takesUntil.IsZero() && m.answers.committed >= m.behind {
		m.takesUntil = m.now().Add(handOverTakes)
	}
	late := !m.takesUntil.IsZero() && !m.now().Before(m.takesUntil)
	if b := &m.flusher.buffer; late || b.spilled == 0 && b.bytes <= m.flusher.flushBytes {
		m.stopped = true
	}
}

// endHandingOver sends the end entry when nothing is left to flush.
func (m *machine) endHandingOver() {
	if m.next != nil && !m.ending && m.stopped && m.flusher.idle() {
		if m.handOver(*m.next) != nil {
			m.goOnLeading()
			return
		}
		m.ending = true
	}
}

// goOnLeading ends a hand-over, and reports whether requests are taken again. They are not
// once the end entry was sent, nor after the end of the leadership.
func (m *machine) goOnLeading() bool {
	if m.failed != nil || m.ending && !m.takeBack() {
		return false
	}
	m.next, m.ending, m.stopped = nil, false, false
	return true
}
