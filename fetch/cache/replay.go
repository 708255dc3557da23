package cache

import (
	"container/list"
	"context"
	"fmt"

	"github.com/varvelog/varve/tiering/segment"
)

// Range says where bytes lie in the bucket.
type Range struct {
	Object   string // key
	Pos, Len int64  // bytes, from the start of the object
}

// Region is a range that is read as a whole, and is not empty: the records of one
// partition in an object.
type Region struct {
	Range
	// Check says whether the bytes are what they should be, and where reading may
	// start in them. It is called once, before anyone gets the bytes; its errors are
	// returned as they are.
	Check func(*Block) ([]segment.SparseEntry, error)
}

// Checked is a region in memory that Check has accepted.
type Checked struct {
	Span   Span
	Sparse []segment.SparseEntry // what Check returned
	Waited bool                  // it was not in memory when it was asked for
}

// Ahead is one reader's account of what is read ahead for it. The zero value is
// ready for use; the Cache's lock guards it.
type Ahead struct {
	regions map[*region]struct{} // that nobody has come for yet
	lost    int64                // bytes of those that were dropped since the last look
}

// Ask is a region to read ahead, and whose account it is for.
type Ask struct {
	Region
	For *Ahead
}

// ReplayStats counts what replays have read, in bytes since the start.
type ReplayStats struct {
	Gets   int64 // GETs, not bytes
	Read   int64 // from the store
	Ahead  int64 // of these before a reader asked
	Used   int64 // of those ahead, what a reader then asked for
	Wasted int64 // of those ahead, what was dropped unused, or lay between
}

// replay is what replays have in memory or on the way there, guarded by the
// Cache's lock.
type replay struct {
	regions map[Range]*region
	wanted  list.List // of *extent: readers wait for them
	ahead   list.List // of *extent: nobody does yet
	running int       // GETs under way
	stats   ReplayStats
}

// region is a Region in the table: from when it is asked for until it is dropped.
type region struct {
	Region
	extent *extent
	owner  *Ahead // for whom it is read ahead; nil once a reader has come, or will not
	came   bool   // a reader has
	sparse []segment.SparseEntry
	block  *Block
	err    error // like sparse and block set before extent.done is closed
}

// disown ends the wait for a reader, who has come or will not. It reports whether
// there was one.
func (r *region) disown() bool {
	if r.owner == nil {
		return false
	}
	delete(r.owner.regions, r)
	r.owner = nil
	r.extent.unread--
	return true
}

// Region returns a region, read once for all who ask. When ctx ends it returns
// its error, and the load goes on for the others.
func (c *Cache) Region(ctx context.Context, want Region) (Checked, error) {
	if err := c.enter(); err != nil {
		return Checked{}, err
	}
	defer c.users.Done()
	r := c.come(want)
	waited := false
	select {
	case <-r.extent.done:
	default:
		waited = true
		select {
		case <-r.extent.done:
		case <-ctx.Done():
			return Checked{}, ctx.Err()
		case <-c.ctx.Done():
			return Checked{}, ErrClosed
		}
	}
	if r.err != nil {
		return Checked{}, fmt.Errorf("read %d bytes at %d of %q: %w", want.Len, want.Pos, want.Object, r.err)
	}
	return Checked{
		Span:   Span{start: r.Pos, end: r.Pos + r.Len, blockSize: r.Len, blocks: []*Block{r.block}},
		Sparse: r.sparse, Waited: waited,
	}, nil
}

// HasRegion reports whether the region is in memory, or on the way there.
func (c *Cache) HasRegion(at Range) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.replay.regions[at] != nil
}

// come finds a region for a reader who will wait for it.
func (c *Cache) come(want Region) *region {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.mu.replay.regions[want.Range]
	if r == nil {
		c.queueLocked([]Ask{{Region: want}}, false)
		r = c.mu.replay.regions[want.Range]
	}
	c.hurryLocked(r.extent)
	c.arriveLocked(r)
	c.startLocked() // which may drop it again, for all the table knows
	return r
}

// arriveLocked accounts for a reader of a region.
func (c *Cache) arriveLocked(r *region) {
	m, e := &c.mu.memory, r.extent
	r.disown()
	if e.ahead && !r.came {
		e.used += r.Len
		c.mu.replay.stats.Used += r.Len
	}
	r.came = true
	switch {
	case e.in == nil: // on the way
	case e.in == &m.unread && e.unread == 0:
		m.put(&m.read, &e.item)
	default:
		m.touch(&e.item)
	}
}

// Want has regions read that readers are about to ask for, those that lie near
// each other in one GET.
func (c *Cache) Want(regions []Region) {
	if c.enter() != nil {
		return
	}
	defer c.users.Done()
	asks := make([]Ask, len(regions))
	for i, r := range regions {
		asks[i].Region = r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wantLocked(asks)
}

func (c *Cache) wantLocked(asks []Ask) {
	var missing []Ask
	for i := range asks {
		if r := c.mu.replay.regions[asks[i].Range]; r != nil {
			c.hurryLocked(r.extent)
		} else {
			missing = append(missing, asks[i])
		}
	}
	c.queueLocked(missing, false)
	c.startLocked()
}

// ReadAhead has regions read ahead, in this order, as far as there is room, and
// returns how many it took. It drops nothing for them that somebody shall still
// come for.
func (c *Cache) ReadAhead(asks []Ask) (taken int) {
	if c.enter() != nil {
		return 0
	}
	defer c.users.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []Ask
	var bytes int64
	for i := range asks {
		if c.mu.replay.regions[asks[i].Range] == nil {
			if bytes += asks[i].Len; !c.mu.memory.fits(bytes) {
				break
			}
			missing = append(missing, asks[i])
		}
		taken++
	}
	c.queueLocked(missing, true)
	c.startLocked()
	return taken
}

// Look tells how many bytes of an account were dropped before anybody came for
// them, since the last look, and how many bytes may be read ahead at once over all
// accounts.
func (c *Cache) Look(a *Ahead) (lost, room int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost, a.lost = a.lost, 0
	return lost, c.mu.memory.aheadRoom()
}

// Abandon tells that nobody will come for what was read ahead for this account:
// what is not on its way yet is not read, the rest is dropped before anything
// else.
func (c *Cache) Abandon(a *Ahead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, m := &c.mu.replay, &c.mu.memory
	for r := range a.regions {
		e := r.extent
		r.disown()
		switch {
		case e.unread > 0: // for others
		case e.queued != nil && e.ahead: // else somebody waits
			p.ahead.Remove(e.queued)
			m.waiting -= e.bytes
			c.dropRegionsLocked(e)
		case e.in != nil:
			m.retire(&m.read, &e.item)
		}
	}
}

// ForgetRegion drops a region that was found damaged after all: the next reader
// gets it from the store again.
func (c *Cache) ForgetRegion(at Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.mu.replay.regions[at]; r != nil && r.extent.in != nil {
		c.mu.memory.remove(&r.extent.item)
		r.extent.drop()
	}
}

// Replays returns what replays have read so far.
func (c *Cache) Replays() ReplayStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.replay.stats
}
