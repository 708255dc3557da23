package cache

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestReplaysLeaveTheBlocksAlone replays far more than the cache holds, while others read
// the tail.
func TestReplaysLeaveTheBlocksAlone(t *testing.T) {
	store := &counting{Store: zeros{}}
	c := newCache(t, store, 64, nil)
	tail := func(i int) {
		if _, err := c.Read(t.Context(), Range{fmt.Sprint("tail", i), 0, 1}, testBlock); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 48 { // the part of the memory that replays have no share in
		tail(i)
	}
	accounts := make([]Ahead, 10)
	for i := range 200 {
		for n := range accounts {
			r := func(i int) Region { return whole(fmt.Sprintf("replay%d-%d", n, i)) }
			c.ReadAhead([]Ask{{r(i + 1), &accounts[n]}, {r(i + 2), &accounts[n]}})
			c.mustRead(t, r(i))
		}
	}
	c.settle()
	store.gets.Store(0)
	for i := range 48 {
		tail(i)
	}
	if n := store.gets.Load(); n > 0 {
		t.Errorf("%d blocks of the tail were read again", n)
	}
	if m := &c.mu.memory; m.replays()+m.blocks.bytes > m.limit || m.loading != 0 {
		t.Errorf("%d bytes of replays, %d on the way, %d of blocks, limit %d", m.replays(), m.loading, m.blocks.bytes, m.limit)
	}
	// A single replay has the memory that no other reader uses.
	c = newCache(t, store, 64, nil)
	for range 2 {
		store.gets.Store(0)
		for i := range 60 {
			c.mustRead(t, whole(fmt.Sprint("replay", i)))
		}
	}
	if n := store.gets.Load(); n > 0 {
		t.Errorf("a second replay of a log that fits took %d GETs", n)
	}
}

// TestMemoryAddsUp does anything at any time, and checks that the books of the memory and
// of read-ahead agree with the regions in the table.
func TestMemoryAddsUp(t *testing.T) {
	store := objects(t, 30)
	rapid.Check(t, func(rt *rapid.T) {
		c := newCache(t, store, 10, func(cfg *Config) { cfg.ReplayBytes = 5 * testBlock })
		accounts := make([]Ahead, 3)
		var readers []reading
		anyRegion := func() Region {
			half := rapid.Int64Range(0, 1).Draw(rt, "half")
			return regionAt(fmt.Sprint("o", rapid.IntRange(0, 29).Draw(rt, "object")), half*testBlock/2, testBlock/2)
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			a := &accounts[rapid.IntRange(0, 2).Draw(rt, "account")]
			switch rapid.IntRange(0, 8).Draw(rt, "step") {
			case 0, 1:
				c.aheadOf(a, anyRegion(), anyRegion(), anyRegion())
			case 2, 3:
				r := anyRegion()
				readers = append(readers, reading{r, c.mustRead(rt, r).Span})
			case 7, 8:
				if len(readers) > 0 {
					readers[0].end(rt)
					readers = readers[1:]
				}
			case 4:
				if _, err := c.Read(t.Context(), Range{anyRegion().Object, 0, 1}, testBlock); err != nil {
					rt.Fatal(err)
				}
			case 5:
				c.Abandon(a)
			case 6:
				r := anyRegion()
				c.ForgetRegion(r.Range)
			}
			c.checkBooks(rt)
		}
		for _, r := range readers {
			r.end(rt)
		}
		c.Close()
		for _, r := range slices.Collect(maps.Keys(c.mu.replay.regions)) {
			c.ForgetRegion(r)
		}
		if n := c.pool.InUse(); n != 0 {
			rt.Fatalf("%d bytes are held by no reader and not by the cache", n)
		}
	})
}

// reading is a reader that holds a region.
type reading struct {
	Region
	span Span
}

// end checks that the reader still has the region's bytes, and releases them.
func (r *reading) end(t *rapid.T) {
	var i int
	if _, err := fmt.Sscanf(r.Object, "o%d", &i); err != nil || !bytes.Equal(r.span.Slice(r.Pos, r.Len), object(i)[r.Pos:r.Pos+r.Len]) {
		t.Fatalf("the bytes of %q changed while a reader held them (%v)", r.Object, err)
	}
	r.span.Release()
}

func (c *Cache) checkBooks(t *rapid.T) {
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	m, s := &c.mu.memory, c.mu.replay.stats
	gets := map[*rangedGet]bool{}
	var read, unread, pending int64
	for _, r := range c.mu.replay.regions {
		if !gets[r.get] {
			gets[r.get] = true
			if r.get.in == &m.unread {
				unread += r.get.bytes
			} else {
				read += r.get.bytes
			}
			if r.get.ahead {
				pending += r.get.bytes - r.get.used
			}
		}
	}
	if read != m.read.bytes || unread != m.unread.bytes || m.loading != 0 || m.waiting != 0 {
		t.Fatalf("%d bytes read and %d unread are found, %d and %d are held, %d on the way", read, unread, m.read.bytes, m.unread.bytes, m.loading)
	}
	if int64(len(c.mu.blocks))*testBlock != m.blocks.bytes || m.replays()+m.blocks.bytes > m.limit {
		t.Fatalf("%d blocks, %d bytes; %d bytes of replays, limit %d", len(c.mu.blocks), m.blocks.bytes, m.replays(), m.limit)
	}
	if s.Ahead != s.Used+s.Wasted+pending {
		t.Fatalf("%d bytes read ahead, %d used, %d wasted, %d to come", s.Ahead, s.Used, s.Wasted, pending)
	}
}
