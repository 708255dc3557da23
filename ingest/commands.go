package ingest

import (
	"slices"

	"github.com/varvelog/varve/tiering/segment"
)

// command changes the journal's state by entries, and is answered once the committed
// state shows the change. Its methods run on the goroutine that owns core, some of
// them while an object is applied: they must not ask the journal anything.
type command interface {
	// propose adds the entries that are missing: neither committed nor proposed
	// before. It is called again after each commit that may have made more of them
	// possible, and must add nothing twice. Entries follow the batches placed before
	// them and precede the batches placed after them.
	propose(add func(segment.Entry))
	// reached reports whether the committed state shows the change, or never will. It
	// reads that state only, so that an entry of an earlier leader counts as well.
	reached() bool
	// answer is called once: with nil when the change is reached, or with the error
	// that ended the leadership before. Its entries may then be committed or not.
	answer(err error)
}

// commands is the queue of one leadership's commands. A stall of the bucket ends none
// of them: its entries are kept and sent again, and the caller has a context.
//
// Invariant: each command is in one list until it is answered, and in none afterwards.
type commands struct {
	waiting []command // proposed, not reached
	riders  []command // to be proposed with the next object
	ended   error     // why no command can be reached any more
}

// start proposes a command's entries by add, unless it is reached already.
func (q *commands) start(c command, add func(segment.Entry)) {
	switch {
	case q.ended != nil:
		c.answer(q.ended)
	case c.reached():
		c.answer(nil)
	default:
		c.propose(add)
		q.waiting = append(q.waiting, c)
	}
}

// ride keeps a command for the next object that is written anyway: an idle journal
// writes none for it. A command that rides already stays as it is.
func (q *commands) ride(c command) {
	if q.ended == nil && !slices.Contains(q.riders, c) {
		q.riders = append(q.riders, c)
	}
}

// board returns the riders' entries, which must all go with the object that is built
// now. Each rider has a few at most.
func (q *commands) board() (entries []segment.Entry) {
	for _, c := range q.riders {
		c.propose(func(e segment.Entry) { entries = append(entries, e) })
		if !c.reached() {
			q.waiting = append(q.waiting, c)
		}
	}
	q.riders = nil
	return entries
}

// proceed follows a change of the committed state by entries: it answers the
// commands that are reached, and the others propose the entries that have
// become possible.
func (q *commands) proceed(add func(segment.Entry)) {
	var reached []command
	q.waiting = slices.DeleteFunc(q.waiting, func(c command) bool {
		if c.reached() {
			reached = append(reached, c)
			return true
		}
		c.propose(add)
		return false
	})
	for _, c := range reached { // an answer may start another command
		c.answer(nil)
	}
}

// fail answers every command, also those that come later, with err.
func (q *commands) fail(err error) {
	waiting := append(q.waiting, q.riders...)
	*q = commands{ended: err}
	for _, c := range waiting {
		c.answer(err)
	}
}

// unawaited is a command whose caller does not wait for it.
type unawaited struct{}

func (unawaited) reached() bool { return true }
func (unawaited) answer(error)  {}
