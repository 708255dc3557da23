package metadata

import "github.com/varvelog/varve/tiering/journal"

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
