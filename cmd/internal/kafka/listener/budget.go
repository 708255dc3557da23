package listener

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// part is a part of the memory for requests.
type part uint8

const (
	reserved part = iota // for tiny requests without room in their own part
	small                // frames up to smallFrame
	large                // larger frames
	decoded              // memory that decoding allocates
	answers              // those far larger than their requests, until they are sent
	parts
)

var partNames = [parts]string{"reserved", "small_frames", "large_frames", "decoded", "answers"}

// budget limits the memory of requests over all connections. A request takes
// from its parts in the order of their constants.
//
// A frame takes memory in steps, as it arrives, and gets a step only while all
// its remaining need is free. So of the frames that hold some, the one that got
// the last step can always be completed, and frames cannot wait for each other
// in a ring. A large one that many smaller ones pass gets its turn: see
// holdBack.
//
// Other work takes all its memory of a part at once. While it holds that, it
// waits for nothing but its own client and its own answer. A request that waits
// for other clients gives it back (see Request.Forget) or ends its wait when
// memory is short (see account.polls).
type budget struct {
	mu       sync.Mutex
	parts    [parts]pool
	accounts map[*account]struct{} // of open connections
	minRate  int64                 // bytes per second of a frame, always
	senders  time.Time             // last run of relieveSenders
	onShort  func(shortage)        // called without the lock
	opened   time.Time             // creation time: turns are counted from it
}

// pool is one part of a budget, guarded by its lock.
type pool struct {
	size, free int64
	inTurn     bool      // a waiting request takes all its memory at once
	waiting    []*waiter // in order of arrival, but known connections first
	moved      time.Time // when a frame was last complete, or the first began to wait
	relieved   time.Time // last run of relieve
	reported   time.Time // when onShort was last called
}

// waiter is a request that waits for memory.
type waiter struct {
	account *account
	n, need int64 // bytes it waits for, and all it needs until it is complete
	reading bool  // a frame, so far
	known   bool  // the connection has delivered as large a frame before
	begins  bool  // a large frame that holds nothing yet
	since   time.Time
	behind  time.Time     // since when the frame has been behind: its first wait, or this one
	granted chan struct{} // closed once it has n
}

func newBudget(total, maxRequest, minRate int64) *budget {
	b := &budget{accounts: map[*account]struct{}{}, minRate: minRate, opened: time.Now()}
	for p, size := range [parts]int64{
		reserved: max(total/32, tinyCost),
		small:    max(total/8, smallFrame),
		large:    max(total*3/8, maxRequest),
		decoded:  max(total/4, maxDecodeCost),
		answers:  max(total/8, minAnswers),
	} {
		b.parts[p] = pool{size: size, free: size, inTurn: part(p) != small && part(p) != large}
	}
	return b
}

const (
	// memoryWait limits the wait for memory. A connection that waits is not
	// read, so it does not show that its client has given up. Without a limit,
	// clients that connect again and again would use up all connections.
	memoryWait = time.Minute
	// overdue is how long a request that needs all of its memory at once lets
	// later ones pass that need less.
	overdue = 5 * time.Second
	// turn is how long, of each two turns, large frames that hold nothing yet
	// are held back for one that has been behind for overdue. It is not all of
	// the time, because that frame may be one that never arrives.
	turn = 2 * time.Second
)

// charge is the memory that one request has taken from the budget, in bytes.
type charge struct {
	account *account
	taken   [parts]int64
}

// takeStep takes n bytes for a frame that needs need bytes until it is
// complete.
func (c *charge) takeStep(ctx context.Context, p part, n, need int64) error {
	begins := p == large && c.taken[p] == 0
	if !c.account.try(p, n, need, begins) {
		if err := c.account.await(ctx, p, n, need, begins); err != nil {
			return err
		}
	}
	c.taken[p] += n
	return nil
}

// takeTiny takes n bytes of p, or of the reserve for tiny requests: these go on
// whatever holds the rest.
func (c *charge) takeTiny(ctx context.Context, p part, n int64) error {
	if c.account.try(p, n, n, false) {
		c.taken[p] += n
		return nil
	}
	return c.takeStep(ctx, reserved, n, n)
}

// takeDecoded takes the memory that decoding a request allocates.
func (c *charge) takeDecoded(ctx context.Context, n int64) error {
	n = min(n, c.account.budget.parts[decoded].size)
	if n <= tinyCost {
		return c.takeTiny(ctx, decoded, n)
	}
	return c.takeStep(ctx, decoded, n, n)
}

// shrink gives back all but n bytes of p.
func (c *charge) shrink(p part, n int64) {
	if more := c.taken[p] - n; more > 0 {
		var back [parts]int64
		back[p] = more
		c.account.give(&back)
		c.taken[p] = n
	}
}

// release gives everything back.
func (c *charge) release() {
	c.account.give(&c.taken)
	c.taken = [parts]int64{}
}

// try takes n bytes if they are free at once.
func (a *account) try(p part, n, need int64, begins bool) bool {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	pool := &b.parts[p]
	if need > pool.free || pool.overdue() || begins && b.holdBack(pool) != nil {
		return false
	}
	pool.free -= n
	a.hold(p, n)
	return true
}

// ample reports whether half of a part stays free if n bytes are taken.
func (a *account) ample(p part, n int64) bool {
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	pool := &a.budget.parts[p]
	return len(pool.waiting) == 0 && pool.free-n >= pool.size/2
}

// overdue reports whether the first waiting request has let others pass for
// long enough. A frame that is being read lets all pass: its client may never
// send the rest.
func (p *pool) overdue() bool {
	return p.inTurn && len(p.waiting) > 0 && time.Since(p.waiting[0].since) > overdue
}

// holdBack returns the frame that frames holding nothing yet must not pass, nil
// if there is none. Frames that hold memory pass it, and thereby make room: it
// may wait for their memory.
func (b *budget) holdBack(p *pool) *waiter {
	if p.inTurn || len(p.waiting) == 0 || time.Since(b.opened)/turn%2 == 0 {
		return nil
	}
	if w := p.longest(); time.Since(w.behind) > overdue {
		return w
	}
	return nil
}

// longest returns the waiting request that has been behind for longest.
func (p *pool) longest() *waiter {
	return slices.MinFunc(p.waiting, func(x, y *waiter) int { return x.behind.Compare(y.behind) })
}

// await waits for n bytes.
func (a *account) await(ctx context.Context, p part, n, need int64, begins bool) error {
	b := a.budget
	w := &waiter{account: a, n: n, need: need, known: a.known, begins: begins, since: time.Now(), granted: make(chan struct{})}
	b.mu.Lock()
	w.behind = w.since
	if a.reading && a.behind.IsZero() {
		a.behind = w.since
	}
	if a.reading {
		w.behind = a.behind
	}
	w.reading, a.reading = a.reading, false
	b.parts[p].enqueue(w)
	b.grant(p) // the missing memory may have been given back before the lock was taken
	b.mu.Unlock()
	over := time.NewTimer(memoryWait)
	defer over.Stop()
	tick := time.NewTicker(reliefEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-w.granted:
			return nil
		case <-tick.C:
			b.relieve(p)
			continue
		case <-over.C:
			err = fmt.Errorf("%w within %v", errNoMemory, memoryWait)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if b.withdraw(p, w) {
			return err
		}
		return nil // granted at the last moment
	}
}

func (p *pool) enqueue(w *waiter) {
	if len(p.waiting) == 0 {
		p.moved = w.since
	}
	at := len(p.waiting)
	if i := slices.IndexFunc(p.waiting, func(w *waiter) bool { return !w.known }); w.known && i >= 0 {
		at = i
	}
	p.waiting = slices.Insert(p.waiting, at, w)
}

// withdraw ends a wait, and reports false if it was granted already.
func (b *budget) withdraw(p part, w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.parts[p].waiting, w)
	if i < 0 {
		return false
	}
	b.parts[p].waiting = slices.Delete(b.parts[p].waiting, i, i+1)
	b.grant(p) // later ones may have waited for it
	return true
}

// give gives taken memory back.
func (a *account) give(taken *[parts]int64) {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, n := range taken {
		if n > 0 {
			b.parts[p].free += n
			a.hold(part(p), -n)
			b.grant(part(p))
		}
	}
}

// grant gives free memory to waiting requests, in order. It passes one that
// needs too much, until that one is overdue.
func (b *budget) grant(p part) {
	pool := &b.parts[p]
	if len(pool.waiting) == 0 {
		return
	}
	left, first := pool.waiting[:0], b.holdBack(pool)
	for _, w := range pool.waiting {
		if w.need > pool.free || len(left) > 0 && pool.overdue() || first != nil && w.begins && w != first {
			left = append(left, w)
			continue
		}
		pool.free -= w.n
		w.account.hold(p, w.n)
		if w.reading {
			w.account.goOn()
		}
		close(w.granted)
	}
	clear(pool.waiting[len(left):])
	pool.waiting = left
}
