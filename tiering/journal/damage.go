package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// This file sorts what went wrong with a read into what may pass, and is tried
// again without end, and what can never become right, which ends the Core.

// maxDamagedReads is how often in a row something is read as damaged before it is
// called that, with a pause after each: the damage may have been done on the way.
const maxDamagedReads = 4

// damage counts the damaged reads in a row, by what was read.
type damage struct {
	next   int // the object at Next
	beyond int // what a listing shows beyond it
	floor  int
	proof  int // the object that a leader's proof looks at

	pause uint64 // the timer until which proofs count no damage, 0 if they do
}

// pauseAfter is how long to wait after a read that failed with err, as the tries-th in
// a row. Damage of the way gets time to pass before its bytes are called damaged.
func pauseAfter(err error, tries int) time.Duration {
	if isDamaged(err) {
		return resendMost
	}
	return backoff(tries, resendFirst, resendMost)
}

// isDamaged reports whether err is about the bytes that came, not about the reading.
func isDamaged(err error) bool {
	return errors.Is(err, segment.ErrCorrupt) || errors.Is(err, ErrBroken)
}

// endIfHopeless ends the Core if err can never become right: the object is of a
// format that this program is too old for, or was damaged each time. damaged counts.
func (c *Core) endIfHopeless(err error, damaged *int) bool {
	switch {
	case errors.Is(err, segment.ErrUnsupported):
		c.end(fmt.Errorf("read journal %d at seq %d: %w", c.chain.Journal, c.chain.Next, err))
		return true
	case !isDamaged(err):
		return false
	}
	if *damaged++; *damaged < maxDamagedReads {
		return false
	}
	c.end(fmt.Errorf("read journal %d, whose next seq is %d: %w, %d times: %w", c.chain.Journal, c.chain.Next, ErrDamaged, *damaged, err))
	return true
}
