package cache

import (
	"cmp"
	"container/list"
	"context"
	"slices"

	"github.com/varvelog/varve/tiering/buffer"
)

// maxGap is how many bytes may lie between two regions of one GET. They are read
// along, so that the regions need no GET each.
const maxGap = 512 << 10

// rangedGet is one GET of a replay: it reads some regions of an object, and the bytes
// between them. These stay in memory as a whole.
type rangedGet struct {
	item
	memory  *buffer.Buffer // with the reference of the cache, from landing until it is dropped
	object  string
	pos     int64
	regions []*region
	unread  int           // regions that were read ahead for a reader that has not come yet
	ahead   bool          // no reader waited for it when it was sent
	used    int64         // bytes that were read ahead, and whose reader came
	queued  *list.Element // in a queue; nil once it is sent
	done    chan struct{} // closed once its regions have block or error
}

// getsOf groups regions into GETs. Objects stay in the order in which they first come;
// in each, regions that lie near each other become one GET, up to MaxGet.
func getsOf(asks []Ask) []*rangedGet {
	order := make(map[string]int, len(asks))
	for i := range asks {
		if _, ok := order[asks[i].Object]; !ok {
			order[asks[i].Object] = i
		}
	}
	slices.SortStableFunc(asks, func(a, b Ask) int {
		return cmp.Or(cmp.Compare(order[a.Object], order[b.Object]), cmp.Compare(a.Pos, b.Pos))
	})
	var out []*rangedGet
	for i, r := range asks {
		if i > 0 && asks[i-1].Range == r.Range {
			continue
		}
		var g *rangedGet
		if n := len(out); n > 0 && out[n-1].takes(r.Region) {
			g = out[n-1]
		} else {
			g = &rangedGet{object: r.Object, pos: r.Pos, done: make(chan struct{})}
			out = append(out, g)
		}
		g.regions = append(g.regions, &region{Region: r.Region, owner: r.For, get: g})
		g.bytes = max(g.bytes, r.Pos+r.Len-g.pos)
	}
	return out
}

// takes reports whether r, which does not lie before the first region, belongs to it.
func (g *rangedGet) takes(r Region) bool {
	return r.Object == g.object && r.Pos-(g.pos+g.bytes) <= maxGap && r.Pos+r.Len-g.pos <= MaxGet
}

// queueLocked queues the GETs of regions that are not in the table.
func (c *Cache) queueLocked(asks []Ask, ahead bool) {
	p := &c.mu.replay
	for _, g := range getsOf(asks) {
		g.ahead = ahead
		g.drop = func() { c.dropGetLocked(g) }
		for _, r := range g.regions {
			p.regions[r.Range] = r
			if a := r.owner; a != nil {
				if a.regions == nil {
					a.regions = make(map[*region]struct{})
				}
				a.regions[r] = struct{}{}
				g.unread++
			}
		}
		if ahead {
			c.mu.memory.waiting += g.bytes
		}
		g.queued = p.queue(ahead).PushBack(g)
	}
}

func (p *replay) queue(ahead bool) *list.List {
	if ahead {
		return &p.ahead
	}
	return &p.wanted
}

// hurryLocked moves a GET that a reader waits for before those that only read ahead.
func (c *Cache) hurryLocked(g *rangedGet) {
	if p := &c.mu.replay; g.queued != nil && g.ahead {
		p.ahead.Remove(g.queued)
		c.mu.memory.waiting -= g.bytes
		g.queued, g.ahead = p.wanted.PushBack(g), false
	}
}

// startLocked sends GETs while there is one to send and a slot for it.
func (c *Cache) startLocked() {
	p, m := &c.mu.replay, &c.mu.memory
	for p.running < c.replayLoads {
		queue := p.queue(p.wanted.Len() == 0)
		if queue.Len() == 0 {
			break
		}
		g := queue.Front().Value.(*rangedGet)
		if p.running > 0 && m.loading+g.bytes > min(p.depth.bytes, m.loadRoom()) {
			p.depth.full = true
			break
		}
		queue.Remove(g.queued)
		g.queued = nil
		p.running++
		if g.ahead {
			m.waiting -= g.bytes
		}
		m.loading += g.bytes
		c.users.Go(func() { c.runGet(g) })
	}
	m.trim() // bytes on the way count
}

// runGet carries out a GET, and checks its regions.
func (c *Cache) runGet(g *rangedGet) {
	err := c.limited(func(ctx context.Context) (err error) {
		g.memory, err = c.getRange(ctx, c.pool, g.object, g.pos, g.bytes)
		return err
	})
	if err == nil {
		for _, r := range g.regions {
			at := r.Pos - g.pos
			r.block = NewBlock(g.memory.Bytes()[at:at+r.Len:at+r.Len], g.memory)
			r.sparse, r.err = r.Check(r.block)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.landGetLocked(g, err)
	c.mu.replay.running--
	c.startLocked()
}

// landGetLocked puts the bytes of a GET into memory, without the regions that failed.
func (c *Cache) landGetLocked(g *rangedGet, err error) {
	p, m := &c.mu.replay, &c.mu.memory
	m.loading -= g.bytes
	p.stats.Gets++
	if err != nil {
		p.stats.Used -= g.used // nothing was read
		g.ahead, g.used = false, 0
	} else {
		p.stats.Read += g.bytes
	}
	if g.ahead {
		p.stats.Ahead += g.bytes
	}
	alive, waited := 0, false
	for _, r := range g.regions {
		if err != nil {
			r.err = err
		}
		if r.err != nil {
			c.dropRegionLocked(r)
			continue
		}
		alive++
		waited = waited || r.waiting > 0
		for range r.waiting {
			r.block.Retain()
		}
	}
	if err == nil {
		p.depth.landed(waited, c.mu.hedging.of(g.bytes).queued(), m.share)
	}
	switch {
	case alive == 0:
		g.memory.Release()
		c.wasteLocked(g)
	case g.unread > 0:
		m.put(&m.unread, &g.item)
	case g.ahead && g.used == 0: // abandoned while it was on the way
		m.retire(&m.read, &g.item)
	default:
		m.put(&m.read, &g.item)
	}
	close(g.done)
}

// dropGetLocked takes the regions of a GET out of the table, because memory has
// dropped the bytes. Readers that hold references keep them.
func (c *Cache) dropGetLocked(g *rangedGet) {
	g.memory.Release()
	c.dropRegionsLocked(g)
	c.wasteLocked(g)
}

// wasteLocked counts the bytes that were read ahead in vain.
func (c *Cache) wasteLocked(g *rangedGet) {
	if g.ahead {
		c.mu.replay.stats.Wasted += g.bytes - g.used
	}
}

func (c *Cache) dropRegionsLocked(g *rangedGet) {
	for _, r := range g.regions {
		c.dropRegionLocked(r)
	}
}

// dropRegionLocked takes a region out of the table. A region that was read ahead in
// vain is added to its reader's account.
func (c *Cache) dropRegionLocked(r *region) {
	p := &c.mu.replay
	if p.regions[r.Range] == r {
		delete(p.regions, r.Range)
	}
	if a := r.owner; r.disown() {
		a.lost += r.Len
	}
}
