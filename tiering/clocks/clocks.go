// Package clocks says when work may go on that deletes by time.
//
// It owns the comparison of the node's clock with the store's. It promises that the time
// it returns never goes back within a process, and that the head of journal 0 was proved
// after the call began (tiering/journal/PROTOCOL.md, rule 27). If it returns no time,
// nothing may be expired, compacted, dropped or deleted.
//
// It never deletes anything itself, and never waits for a clock to become right.
package clocks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
)

const (
	// most is how far the clocks of the node and the store may be apart.
	most = 5 * time.Minute
	// proved is how long a process has to run before its clock is believed at a store that
	// has none. Until then an operator who sees the trouble can stop it.
	proved = time.Hour
	// fresh is the age of the newest object at which the clock is believed at once.
	fresh = 24 * time.Hour
)

// ClientAhead is how far timestamps of records may be ahead of the time, and still be those
// of a client whose clock is a bit wrong.
const ClientAhead = time.Hour

var (
	// ErrWrong: the clocks of the node and the store are apart.
	ErrWrong = errors.New("the clocks of the node and the store are apart")
	// ErrTooEarly: the store has no clock, and the process has not run for long enough for
	// its own to be believed.
	ErrTooEarly = errors.New("the node's clock is not confirmed yet")
)

// Options are the surroundings of Clocks. All fields but OnJudged are required.
type Options struct {
	Store objstore.Store
	// Prove returns nil once all that was committed in journal 0 before the call is
	// applied.
	Prove func(ctx context.Context) error
	// Read reads something small from the store.
	Read   func(ctx context.Context) error
	Now    func() time.Time
	Uptime func() time.Duration // of the process; it does not follow the wall clock
	// OnJudged is called with each comparison: how far the node's clock is ahead of the
	// store's, if that has one, and an error that is ErrWrong, or nil. It must not block.
	OnJudged func(ahead time.Duration, err error)
}

// Clocks are the clocks of one process. They are safe for concurrent use.
type Clocks struct {
	opt   Options
	start time.Time // of the process, by its clock when it was first looked at

	mu   sync.Mutex
	last time.Time // returned
}

// New returns Clocks that have not been compared yet.
func New(opt Options) *Clocks {
	if opt.OnJudged == nil {
		opt.OnJudged = func(time.Duration, error) {}
	}
	return &Clocks{opt: opt, start: opt.Now().Add(-opt.Uptime())}
}

// Round proves the head of journal 0 and compares the clocks, for one round of work that
// deletes. It returns the time for that round. Errors are ErrWrong or ErrTooEarly, or
// those of the proof and the store.
func (c *Clocks) Round(ctx context.Context) (time.Time, error) {
	began, answers := c.opt.Now(), c.answers()
	if err := c.opt.Prove(ctx); err != nil {
		return time.Time{}, fmt.Errorf("prove the metadata journal: %w", err)
	}
	if c.answers() == answers { // it asked the store nothing
		if err := c.opt.Read(ctx); err != nil {
			return time.Time{}, fmt.Errorf("ask the store for its time: %w", err)
		}
	}
	if c.answers() == answers {
		return c.alone()
	}
	clock := c.opt.Store.(objstore.Clock)
	at, _ := clock.StoreTime()
	now := c.opt.Now()
	return c.judge(now, now.Sub(at), at.Before(began.Add(-most)) || at.After(now.Add(most)))
}

// answers is how many answers of the store have named a time.
func (c *Clocks) answers() uint64 {
	clock, ok := c.opt.Store.(objstore.Clock)
	if !ok {
		return 0
	}
	_, n := clock.StoreTime()
	return n
}

// alone judges the node's clock at a store without one, by the age of the process and of
// the bucket. Jumps of the clock ahead within the process do not count.
func (c *Clocks) alone() (time.Time, error) {
	up := c.opt.Uptime()
	now := c.opt.Now()
	if ran := c.start.Add(up); ran.Before(now) {
		now = ran
	}
	var newest time.Time
	if dated, ok := c.opt.Store.(objstore.Dated); ok {
		newest = dated.NewestModified()
	}
	switch {
	case !newest.IsZero() && now.Before(newest.Add(-most)):
		return c.judge(now, now.Sub(newest), true)
	case up >= proved, !newest.IsZero() && now.Before(newest.Add(fresh)):
		return c.judge(now, 0, false)
	}
	return time.Time{}, ErrTooEarly
}

// judge reports a comparison, and returns the time if the clocks agree.
func (c *Clocks) judge(now time.Time, ahead time.Duration, wrong bool) (time.Time, error) {
	var err error
	if wrong {
		err = fmt.Errorf("%w: the node's is %v ahead", ErrWrong, ahead.Round(time.Second))
		if ahead < 0 {
			err = fmt.Errorf("%w: the node's is %v behind", ErrWrong, -ahead.Round(time.Second))
		}
	}
	c.opt.OnJudged(ahead, err)
	if err != nil {
		return time.Time{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.last) {
		c.last = now
	}
	return c.last, nil
}
