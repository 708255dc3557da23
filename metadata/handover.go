package metadata

import (
	"context"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/segment"
)

// HandOver ends the leadership with an end entry that names the next controller, and
// returns nil when it is over. Requests are refused from now on, those that were planned are
// committed first. If ctx ends before the end entry is sent, the leadership goes on, and the
// error is that of ctx. Once it is sent, only its outcome ends the call. A leadership that
// ends in another way gives the reason.
func (l *Leader) HandOver(ctx context.Context, to segment.ID) error {
	over := make(chan struct{})
	var leading *leading
	var reason error // read after over
	begin := func() error {
		if leading = l.life.leading; leading == nil {
			return ErrNotController
		}
		return leading.beginHandOver(journal.End{To: to}, func(err error) {
			reason = err
			close(over)
		})
	}
	if err := l.loop.HandOver(ctx, begin, func() bool { return leading == nil || leading.goOnLeading() }, over); err != nil {
		return err
	}
	return reason
}

// This part of leading hands journal 0 over (CLUSTER.md, rule 47).

// beginHandOver plans nothing more, and has the leadership end with an end entry once all
// planned changes are committed. onOver is called at its end, unless there is an error.
func (l *leading) beginHandOver(e journal.End, onOver func(reason error)) error {
	if !l.ready || l.next != nil {
		return ErrUnavailable
	}
	l.next, l.onOver = &e, onOver
	return nil
}

// endHandingOver sends the end entry when all planned changes are committed.
func (l *leading) endHandingOver() {
	if l.next == nil || l.ending || len(l.entries) > 0 || len(l.proposed) > 0 {
		return
	}
	if l.handOver(*l.next) != nil {
		l.goOnLeading()
		return
	}
	l.ending = true
}

// goOnLeading ends a hand-over, and reports whether changes are planned again. They are not
// once the end entry was sent, nor after the end of the leadership.
func (l *leading) goOnLeading() bool {
	if l.ended || l.ending && !l.takeBack() {
		return false
	}
	l.next, l.ending, l.onOver = nil, false, nil
	return true
}
