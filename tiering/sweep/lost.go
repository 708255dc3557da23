package sweep

import (
	"sync/atomic"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/partlog"
)

// LostPage is an index page that is missing or damaged, in each of its copies.
type LostPage struct {
	partlog.Key
	Object string // the key of the index object
}

// lostPages are those that a Releaser has met. Objects that they may name are held back
// until "varve bucket repair" has restored them.
type lostPages struct {
	known, now map[LostPage]error // before this look, and in it
	count      atomic.Int64       // of known
}

// begin begins a look.
func (l *lostPages) begin() { l.now = map[LostPage]error{} }

// note notes how the reading of a page ended, and reports whether the page is lost. It is
// not if it could not be read now.
func (l *lostPages) note(p *partlog.Page, err error) bool {
	if !lost.Is(err) {
		return false
	}
	l.now[LostPage{p.Key, p.ObjectKey()}] = err
	return true
}

// end reports the pages that are lost now and were not before, and without an error those
// that were and are not any more.
func (l *lostPages) end(report func(LostPage, error)) {
	for p, err := range l.now {
		if l.known[p] == nil {
			report(p, err)
		}
	}
	for p := range l.known {
		if l.now[p] == nil {
			report(p, nil)
		}
	}
	l.known = l.now
	l.count.Store(int64(len(l.known)))
}
