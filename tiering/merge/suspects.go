package merge

import (
	"time"

	"github.com/varvelog/varve/tiering/partlog"
)

// One failure proves nothing about a source: a store may answer wrongly for a while.
const (
	sourcePatience = time.Hour       // after the first failure, a range of the journal is given up
	sourceRetry    = 5 * time.Minute // between two jobs that try it
)

// place is where a source begins that could not be read.
type place struct {
	partlog.Key
	base int64
}

// suspect is a source that could not be read.
type suspect struct {
	first, next time.Time // of the trials
}

// suspects are the sources that could not be read lately. Its owner is the Executor.
type suspects struct {
	of   map[place]*suspect
	held map[partlog.Key]time.Time // partitions that wait for a source
}

func newSuspects() suspects {
	return suspects{of: map[place]*suspect{}, held: map[partlog.Key]time.Time{}}
}

// failed notes that a source cannot be read, and reports whether that has lasted so long
// that it is given up.
func (s *suspects) failed(k partlog.Key, base int64, now time.Time) (givenUp bool) {
	at := place{k, base}
	x := s.of[at]
	if x == nil {
		x = &suspect{first: now}
		s.of[at] = x
	}
	x.next = now.Add(sourceRetry)
	return now.Sub(x.first) >= sourcePatience
}

// sound notes that a source was read, and reports whether it could not be read before.
func (s *suspects) sound(k partlog.Key, base int64) (again bool) {
	_, again = s.of[place{k, base}]
	delete(s.of, place{k, base})
	return again
}

// hold keeps a partition out of jobs of level 1 until its source is tried again.
func (s *suspects) hold(k partlog.Key, now time.Time) { s.held[k] = now.Add(sourceRetry) }

// holds reports whether a partition is kept out of jobs of level 1.
func (s *suspects) holds(k partlog.Key, now time.Time) bool {
	until, held := s.held[k]
	if held && !now.Before(until) {
		delete(s.held, k)
		held = false
	}
	return held
}

// avoids reports whether a merged extent is left out of plans for now.
func (s *suspects) avoids(k partlog.Key, e *partlog.Extent, now time.Time) bool {
	x := s.of[place{k, e.Base}]
	return x != nil && now.Before(x.next)
}
