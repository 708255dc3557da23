package listener

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// complaintInterval is the shortest time between two log lines of one kind
	// that clients can cause at will.
	complaintInterval = time.Second
	// complaintQuiet is how long no line of a kind must come until the number
	// of lines left out is logged by itself: there may never be a next line.
	complaintQuiet = 5 * time.Second
)

// Complaints logs warnings that unknown clients can cause: one line of a kind
// per interval, with the number of those left out before it. When a kind has
// been quiet, or at close, it logs the number left out since the last line.
type Complaints struct {
	log     *slog.Logger
	mu      sync.Mutex
	guarded map[string]*complaint
	closed  bool
}

// NewComplaints returns complaints that go to log. The server that gets them
// closes them.
func NewComplaints(log *slog.Logger) *Complaints { return &Complaints{log: log} }

type complaint struct {
	msg     string
	last    time.Time
	skipped int
	quiet   *time.Timer // runs while skipped > 0, unless closed; nil: none yet
}

// Warn logs msg unless a line of that kind was logged a moment ago. There are
// few kinds: none comes from input.
func (c *Complaints) Warn(kind, msg string, args ...any) {
	skipped, ok := c.admit(kind, msg, time.Now())
	if !ok {
		return
	}
	if skipped > 0 {
		args = append(args, "similar_left_out", skipped)
	}
	c.log.Warn(msg, args...)
}

func (c *Complaints) admit(kind, msg string, now time.Time) (skipped int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guarded == nil {
		c.guarded = make(map[string]*complaint)
	}
	k := c.guarded[kind]
	if k == nil {
		k = &complaint{msg: msg}
		c.guarded[kind] = k
	} else if now.Sub(k.last) < complaintInterval {
		k.skipped++
		c.await(kind, k)
		return 0, false
	}
	skipped = k.skipped
	k.last, k.skipped = now, 0
	if k.quiet != nil {
		k.quiet.Stop()
	}
	return skipped, true
}

// await logs the number left out when no more lines of the kind come.
func (c *Complaints) await(kind string, k *complaint) {
	switch {
	case c.closed:
	case k.quiet != nil:
		k.quiet.Reset(complaintQuiet)
	default:
		k.quiet = time.AfterFunc(complaintQuiet, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.rest(kind, k)
		})
	}
}

// rest logs how many lines were left out since the last one, if any. It holds
// mu while it logs, so that close waits for it.
func (c *Complaints) rest(kind string, k *complaint) {
	if k.skipped > 0 {
		c.log.Warn("log lines were left out", "similar_to", k.msg, "kind", kind, "similar_left_out", k.skipped)
		k.skipped = 0
	}
}

// close logs the numbers of lines left out. After it no timer runs, and none is
// started.
func (c *Complaints) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for kind, k := range c.guarded {
		if k.quiet != nil {
			k.quiet.Stop()
		}
		c.rest(kind, k)
	}
}
