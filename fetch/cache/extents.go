package cache

import (
	"cmp"
	"container/list"
	"context"
	"slices"
)

// maxGap is how many bytes between two regions of an object are read along with
// them, rather than to read each with a GET of its own.
const maxGap = 512 << 10

// extent is what one GET of a replay reads: some regions of an object and what
// lies between them. It stays in memory as a whole.
type extent struct {
	item
	object  string
	pos     int64
	regions []*region
	unread  int           // regions that were read ahead and nobody has come for yet
	ahead   bool          // nobody has waited for it before its GET was sent
	used    int64         // bytes that were read ahead and somebody came for
	queued  *list.Element // in a queue; nil once its GET is on the way
	done    chan struct{} // closed once its regions have block or error
}

// extentsOf groups regions into extents: the objects in the order in which they
// first come, and in each object what lies near each other, up to MaxGet.
func extentsOf(asks []Ask) []*extent {
	order := make(map[string]int, len(asks))
	for i := range asks {
		if _, ok := order[asks[i].Object]; !ok {
			order[asks[i].Object] = i
		}
	}
	slices.SortStableFunc(asks, func(a, b Ask) int {
		return cmp.Or(cmp.Compare(order[a.Object], order[b.Object]), cmp.Compare(a.Pos, b.Pos))
	})
	var out []*extent
	for i, r := range asks {
		if i > 0 && asks[i-1].Range == r.Range {
			continue
		}
		var e *extent
		if n := len(out); n > 0 && out[n-1].takes(r.Region) {
			e = out[n-1]
		} else {
			e = &extent{object: r.Object, pos: r.Pos, done: make(chan struct{})}
			out = append(out, e)
		}
		e.regions = append(e.regions, &region{Region: r.Region, owner: r.For, extent: e})
		e.bytes = max(e.bytes, r.Pos+r.Len-e.pos)
	}
	return out
}

// takes reports whether r, which does not lie before the extent, belongs to it.
func (e *extent) takes(r Region) bool {
	return r.Object == e.object && r.Pos-(e.pos+e.bytes) <= maxGap && r.Pos+r.Len-e.pos <= MaxGet
}

// queueLocked queues the GETs of regions that are not in the table.
func (c *Cache) queueLocked(asks []Ask, ahead bool) {
	p := &c.mu.replay
	for _, e := range extentsOf(asks) {
		e.ahead = ahead
		e.extent = e
		e.drop = func() { c.dropExtentLocked(e) }
		for _, r := range e.regions {
			p.regions[r.Range] = r
			if a := r.owner; a != nil {
				if a.regions == nil {
					a.regions = make(map[*region]struct{})
				}
				a.regions[r] = struct{}{}
				e.unread++
			}
		}
		if ahead {
			c.mu.memory.waiting += e.bytes
		}
		e.queued = p.queue(ahead).PushBack(e)
	}
}

func (p *replay) queue(ahead bool) *list.List {
	if ahead {
		return &p.ahead
	}
	return &p.wanted
}

// hurryLocked moves an extent that a reader waits for before those that were only
// read ahead.
func (c *Cache) hurryLocked(e *extent) {
	if p := &c.mu.replay; e.queued != nil && e.ahead {
		p.ahead.Remove(e.queued)
		c.mu.memory.waiting -= e.bytes
		e.queued, e.ahead = p.wanted.PushBack(e), false
	}
}

// maxFlight is how many bytes replays read at once, but for one GET: as many as
// keep a store busy, and no more for those who wait for their first one.
const maxFlight = 4 * MaxGet

// startLocked sends GETs while there is one to send and a slot for it.
func (c *Cache) startLocked() {
	p, m := &c.mu.replay, &c.mu.memory
	for p.running < c.replayLoads {
		queue := p.queue(p.wanted.Len() == 0)
		if queue.Len() == 0 {
			break
		}
		e := queue.Front().Value.(*extent)
		if p.running > 0 && m.loading+e.bytes > maxFlight {
			break
		}
		queue.Remove(e.queued)
		e.queued = nil
		p.running++
		if e.ahead {
			m.waiting -= e.bytes
		}
		m.loading += e.bytes
		c.users.Go(func() { c.loadExtent(e) })
	}
	m.trim() // what is on the way counts
}

// loadExtent reads an extent and has its regions checked.
func (c *Cache) loadExtent(e *extent) {
	var data []byte
	err := c.limited(func(ctx context.Context) (err error) {
		data, err = c.getRange(ctx, e.object, e.pos, e.bytes)
		return err
	})
	if err == nil {
		for _, r := range e.regions {
			at := r.Pos - e.pos
			r.block = NewBlock(data[at : at+r.Len : at+r.Len])
			r.sparse, r.err = r.Check(r.block)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.landExtentLocked(e, err)
	c.mu.replay.running--
	c.startLocked()
}

// landExtentLocked puts an extent into memory, without the regions that failed.
func (c *Cache) landExtentLocked(e *extent, err error) {
	p, m := &c.mu.replay, &c.mu.memory
	m.loading -= e.bytes
	p.stats.Gets++
	if err != nil {
		p.stats.Used -= e.used // nothing was read
		e.ahead, e.used = false, 0
	} else {
		p.stats.Read += e.bytes
	}
	if e.ahead {
		p.stats.Ahead += e.bytes
	}
	alive := 0
	for _, r := range e.regions {
		if err != nil {
			r.err = err
		}
		if r.err == nil {
			alive++
			continue
		}
		c.dropRegionLocked(r)
	}
	switch {
	case alive == 0:
		c.wasteLocked(e)
	case e.unread > 0:
		m.put(&m.unread, &e.item)
	case e.ahead && e.used == 0: // abandoned meanwhile
		m.retire(&m.read, &e.item)
	default:
		m.put(&m.read, &e.item)
	}
	close(e.done)
}

// dropExtentLocked takes the regions of an extent out of the table that memory
// has dropped.
func (c *Cache) dropExtentLocked(e *extent) {
	c.dropRegionsLocked(e)
	c.wasteLocked(e)
}

// wasteLocked counts what of a read-ahead came to nothing.
func (c *Cache) wasteLocked(e *extent) {
	if e.ahead {
		c.mu.replay.stats.Wasted += e.bytes - e.used
	}
}

func (c *Cache) dropRegionsLocked(e *extent) {
	for _, r := range e.regions {
		c.dropRegionLocked(r)
	}
}

// dropRegionLocked takes a region out of the table. If it was read ahead in vain
// its reader's account tells.
func (c *Cache) dropRegionLocked(r *region) {
	p := &c.mu.replay
	if p.regions[r.Range] == r {
		delete(p.regions, r.Range)
	}
	if a := r.owner; r.disown() {
		a.lost += r.Len
	}
}
