package file

import (
	"sync/atomic"
	"time"
)

// ageMargin is far above the difference between the clock of the system and the times that
// it gives to files.
const ageMargin = time.Minute

// ages knows the newest modification time of the objects that were there before.
type ages struct {
	opened time.Time
	newest atomic.Int64 // Unix nanoseconds; 0: none
}

// saw notes the modification time of an object.
func (a *ages) saw(t time.Time) {
	if !t.Before(a.opened.Add(-ageMargin)) {
		return
	}
	for n := t.UnixNano(); ; {
		old := a.newest.Load()
		if n <= old || a.newest.CompareAndSwap(old, n) {
			return
		}
	}
}

// NewestModified implements objstore.Dated.
func (s *Store) NewestModified() time.Time {
	if n := s.ages.newest.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}
