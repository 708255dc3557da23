package cache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/varvelog/varve/tiering/buffer"
)

const (
	// hedgeFloor is the least time after which a GET is sent again. Below it there is
	// little to win.
	hedgeFloor = 20 * time.Millisecond
	// A GET in getsPerHedge may be sent again, and at first hedgeBurst of them.
	getsPerHedge = 50
	hedgeBurst   = 8
	// maxHedges is how many second GETs are under way at once. Each has memory of its own.
	maxHedges = 2
)

// HedgeStats counts the GETs that were sent a second time, since the start.
type HedgeStats struct {
	Sent int64
	Won  int64 // the second one answered first
}

// hedging decides which GETs are sent a second time, because the first one is among the
// slowest hundredth of its size. It is pure; the Cache's lock guards it.
type hedging struct {
	latencies
	credit  int // of getsPerHedge for each hedge
	running int // second GETs
	stats   HedgeStats
}

// begin notes that a GET begins, and returns after which time a second one may be sent;
// false if none may.
func (h *hedging) begin(bytes int64) (after time.Duration, ok bool) {
	h.credit = min(h.credit+1, hedgeBurst*getsPerHedge)
	after, ok = h.of(bytes).slow()
	return max(after, hedgeFloor), ok
}

// take reports whether a second GET may be sent now. Then end must follow.
func (h *hedging) take() bool {
	if h.running >= maxHedges || h.credit < getsPerHedge {
		return false
	}
	h.credit -= getsPerHedge
	h.running++
	h.stats.Sent++
	return true
}

// end notes the end of a second GET.
func (h *hedging) end(won bool) {
	h.running--
	if won {
		h.stats.Won++
	}
}

// getRange reads n bytes into memory of a pool. The caller releases it. A GET that takes
// unusually long is sent a second time; the loser is cancelled. Each of the two has
// memory of its own, so that a late answer harms no reader.
func (c *Cache) getRange(ctx context.Context, pool *buffer.Pool, key string, off, n int64) (*buffer.Buffer, error) {
	get := func(ctx context.Context) (*buffer.Buffer, error) {
		memory := pool.Get(int(n))
		if err := c.store.GetRange(ctx, key, off, memory.Bytes()); err != nil {
			memory.Release()
			return nil, err
		}
		return memory, nil
	}
	c.mu.Lock()
	after, hedged := c.mu.hedging.begin(n)
	c.mu.Unlock()
	begun := time.Now()
	var memory *buffer.Buffer
	var err error
	if hedged && c.hedge {
		memory, err = c.race(ctx, after, get)
	} else {
		memory, err = get(ctx)
	}
	if err == nil {
		c.mu.Lock()
		c.mu.hedging.of(n).note(time.Since(begun))
		c.mu.Unlock()
	}
	return memory, err
}

// attempt is the result of one of two GETs.
type attempt struct {
	memory *buffer.Buffer
	err    error
}

// race runs get, and once more if there is no result after a time. The first success is
// the result; if both fail, the first error.
func (c *Cache) race(ctx context.Context, after time.Duration, get func(context.Context) (*buffer.Buffer, error)) (*buffer.Buffer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, 2)
	var won atomic.Bool
	run := func(second bool) {
		memory, err := get(ctx)
		first := err == nil && won.CompareAndSwap(false, true)
		if second {
			c.endHedge(first)
		}
		if err == nil && !first {
			memory.Release() // the other one is the result, or has been
			return
		}
		results <- attempt{memory, err}
	}
	c.users.Go(func() { run(false) })
	timer := time.NewTimer(after)
	defer timer.Stop()
	var failed error
	for running := 1; running > 0; {
		select {
		case a := <-results:
			if a.err == nil {
				return a.memory, nil
			}
			running--
			if failed == nil {
				failed = a.err
			}
		case <-timer.C:
			if c.takeHedge() {
				running++
				c.users.Go(func() { run(true) })
			}
		}
	}
	return nil, failed
}

func (c *Cache) takeHedge() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.hedging.take()
}

func (c *Cache) endHedge(won bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.hedging.end(won)
}

// Hedges returns the counts of second GETs so far.
func (c *Cache) Hedges() HedgeStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.hedging.stats
}
