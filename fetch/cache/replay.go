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
	// Check checks the bytes, and returns where reading may start in them. It is called
	// once, before any reader gets the bytes; its errors are returned as they are. It must
	// not keep the block.
	Check func(*Block) ([]segment.SparseEntry, error)
}

// Checked is a region in memory that Check has accepted. Its caller releases the Span.
type Checked struct {
	Span   Span
	Sparse []segment.SparseEntry // returned by Check
	Waited bool                  // it was not in memory when the caller asked
}

// Ahead is one reader's account of the regions that are read ahead for it. The zero
// value is ready for use; the Cache's lock guards it.
type Ahead struct {
	regions map[*region]struct{} // the reader has not come for these yet
	lost    int64                // bytes of those that were dropped since the last Look
}

// Ask is a region to read ahead, and the account of its reader.
type Ask struct {
	Region
	For *Ahead
}

// ReplayStats counts the reads of replays, in bytes since the start.
type ReplayStats struct {
	Gets   int64 // GETs, not bytes
	Read   int64 // bytes from the store
	Ahead  int64 // of Read: before a reader asked
	Used   int64 // of Ahead: a reader then asked for them
	Wasted int64 // of Ahead: dropped unused, or between two regions
}

// replay has the regions of replays that are in memory or on the way there, guarded by
// the Cache's lock.
type replay struct {
	regions map[Range]*region
	wanted  list.List // of *rangedGet: readers wait for them
	ahead   list.List // of *rangedGet: no reader waits yet
	running int       // GETs under way
	depth   depth
	stats   ReplayStats
}

// region is a Region in the table, from when a reader asks for it until it is dropped.
type region struct {
	Region
	get     *rangedGet
	owner   *Ahead // of the reader that shall come for it; nil once a reader has come, or will not
	came    bool   // a reader has
	waiting int    // readers that wait: each gets a reference when the GET lands
	sparse  []segment.SparseEntry
	block   *Block
	err     error // like sparse and block set before get.done is closed
}

// landed reports whether the GET is over. The Cache's lock is held.
func (g *rangedGet) landed() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// disown ends the wait for a reader that has come or will not come. It reports whether
// there was such a wait.
func (r *region) disown() bool {
	if r.owner == nil {
		return false
	}
	delete(r.owner.regions, r)
	r.owner = nil
	r.get.unread--
	return true
}

// Region returns a region, read once for all callers. When ctx ends, it returns the
// error of ctx, and the load goes on for the other callers.
func (c *Cache) Region(ctx context.Context, want Region) (Checked, error) {
	if err := c.enter(); err != nil {
		return Checked{}, err
	}
	defer c.users.Done()
	r := c.come(want)
	waited := false
	select {
	case <-r.get.done:
	default:
		waited = true
		select {
		case <-r.get.done:
		case <-ctx.Done():
			c.turnAway(r)
			return Checked{}, ctx.Err()
		case <-c.ctx.Done():
			c.turnAway(r)
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

// come finds a region for a reader that will wait for it. The reader has a reference, or
// gets one when the GET lands without an error.
func (c *Cache) come(want Region) *region {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.mu.replay.regions[want.Range]
	if r == nil {
		c.queueLocked([]Ask{{Region: want}}, false)
		r = c.mu.replay.regions[want.Range]
	}
	if r.get.landed() {
		r.block.Retain()
	} else {
		r.waiting++
	}
	c.hurryLocked(r.get)
	c.arriveLocked(r)
	c.startLocked() // it may drop the region from the table again
	return r
}

// turnAway ends the wait of a reader, with the reference that it may have got by now.
func (c *Cache) turnAway(r *region) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !r.get.landed():
		r.waiting--
	case r.err == nil:
		r.block.Release()
	}
}

// arriveLocked notes that a reader has come for a region.
func (c *Cache) arriveLocked(r *region) {
	m, g := &c.mu.memory, r.get
	r.disown()
	if g.ahead && !r.came {
		g.used += r.Len
		c.mu.replay.stats.Used += r.Len
	}
	r.came = true
	switch {
	case g.in == nil: // on the way
	case g.in == &m.unread && g.unread == 0:
		m.put(&m.read, &g.item)
	default:
		m.touch(&g.item)
	}
}

// Want starts to read regions that readers are about to ask for. Regions that lie near
// each other are read in one GET.
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
			c.hurryLocked(r.get)
		} else {
			missing = append(missing, asks[i])
		}
	}
	c.queueLocked(missing, false)
	c.startLocked()
}

// ReadAhead starts to read regions ahead, in this order, as far as there is room. It
// returns how many it took. It drops no region for them whose reader shall still come.
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

// Look returns how many bytes of an account were dropped since the last Look, before
// their reader came. It also returns how many bytes all accounts may have read ahead.
func (c *Cache) Look(a *Ahead) (lost, room int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost, a.lost = a.lost, 0
	return lost, c.mu.memory.aheadRoom()
}

// Abandon ends an account whose reader will not come. Regions that are not on their way
// yet are not read, and the others are dropped before anything else.
func (c *Cache) Abandon(a *Ahead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, m := &c.mu.replay, &c.mu.memory
	for r := range a.regions {
		g := r.get
		r.disown()
		switch {
		case g.unread > 0: // for others
		case g.queued != nil && g.ahead: // else a reader waits
			p.ahead.Remove(g.queued)
			m.waiting -= g.bytes
			c.dropRegionsLocked(g)
		case g.in != nil:
			m.retire(&m.read, &g.item)
		}
	}
}

// ForgetRegion drops a region that turned out to be damaged: the next reader gets it
// from the store again.
func (c *Cache) ForgetRegion(at Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.mu.replay.regions[at]; r != nil && r.get.in != nil {
		c.mu.memory.remove(&r.get.item)
		r.get.drop()
	}
}

// Replays returns the counts of replays' reads so far.
func (c *Cache) Replays() ReplayStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.replay.stats
}
