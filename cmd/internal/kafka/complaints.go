package kafka

import (
	"log/slog"
	"sync"
	"time"
)

// complaintInterval is the least time between two log lines of one kind that
// clients can provoke at will.
const complaintInterval = time.Second

// complaints logs what strangers provoke: one line of a kind per interval, with
// the number of those left out.
type complaints struct {
	log     *slog.Logger
	mu      sync.Mutex
	guarded map[string]*complaint
}

type complaint struct {
	last    time.Time
	skipped int
}

// warn logs msg unless a line of that kind was logged a moment ago. Kinds are
// few: they are not taken from input.
func (c *complaints) warn(kind, msg string, args ...any) {
	skipped, ok := c.admit(kind, time.Now())
	if !ok {
		return
	}
	if skipped > 0 {
		args = append(args, "similar_left_out", skipped)
	}
	c.log.Warn(msg, args...)
}

func (c *complaints) admit(kind string, now time.Time) (skipped int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guarded == nil {
		c.guarded = make(map[string]*complaint)
	}
	k := c.guarded[kind]
	if k == nil {
		k = &complaint{}
		c.guarded[kind] = k
	} else if now.Sub(k.last) < complaintInterval {
		k.skipped++
		return 0, false
	}
	skipped = k.skipped
	*k = complaint{last: now}
	return skipped, true
}
