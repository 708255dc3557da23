package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/segment"
)

// This file sorts failures of reads: those that may pass are tried again without end,
// those that can never become right end the Core.

// maxDamagedReads is how often in a row an object is read as damaged before it is
// called that. There is a pause after each: the damage may have been done on the way.
const maxDamagedReads = 4

// damage counts the damaged reads in a row, by the kind of object.
type damage struct {
	next   int // the object at Next
	beyond int // the objects that a listing shows beyond it
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

// isDamaged reports whether err is about the bytes that came, not about the reading. That is
// less than a loss: at a journal's end a missing object is a gap. Objects are read from
// their end, so that one which is cut short is corrupt, and only an answer can end early.
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
