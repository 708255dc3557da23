package cache

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvelog/varve/testenv/seeded"
	"github.com/varvelog/varve/tiering/objstore"
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

// TestMemoryAddsUp does anything at any time. The books of the memory and of read-ahead
// must agree with the regions in the table. Bytes must stay while a reader holds them, and
// no memory be left at the end.
func TestMemoryAddsUp(t *testing.T) {
	store := objects(t, 30)
	seeded.Run(t, seeded.Test[struct{}]{
		Run:  func(t *seeded.T, _ struct{}) { runMemory(t, store) },
		Must: []string{"left early", "left late", "held after it was dropped"},
	}, 300, 100)
}

func runMemory(t *seeded.T, store objstore.Store) {
	c := newCache(t, store, 10, func(cfg *Config) { cfg.ReplayBytes = 5 * testBlock })
	defer c.Close()
	accounts := make([]Ahead, 3)
	var readers []reading
	t.Steps(60, func(r *rand.Rand) {
		anyRegion := func() Region {
			return regionAt(fmt.Sprint("o", r.IntN(30)), r.Int64N(2)*testBlock/2, testBlock/2)
		}
		a := &accounts[r.IntN(len(accounts))]
		switch r.IntN(10) {
		case 0, 1:
			c.aheadOf(a, anyRegion(), anyRegion(), anyRegion())
		case 2, 3:
			want := anyRegion()
			readers = append(readers, reading{want, c.mustRead(t, want).Span})
		case 4:
			if _, err := c.Read(t.Context(), Range{anyRegion().Object, 0, 1}, testBlock); err != nil {
				t.Fatal(err)
			}
		case 5:
			c.Abandon(a)
		case 6:
			c.ForgetRegion(anyRegion().Range)
		case 7, 8:
			if len(readers) > 0 {
				readers[0].end(t, c)
				readers = readers[1:]
			}
		case 9:
			c.comeAndGo(t, anyRegion(), r.IntN(2) == 0)
		}
		c.checkBooks(t)
	})
	for _, r := range readers {
		r.end(t, c)
	}
	for _, r := range slices.Collect(maps.Keys(c.mu.replay.regions)) {
		c.ForgetRegion(r)
	}
	if n := c.pool.InUse(); n != 0 {
		t.Fatalf("%d bytes are held by no reader and not by the cache", n)
	}
}

// comeAndGo is a reader that leaves before or after the region has landed.
func (c *Cache) comeAndGo(t *seeded.T, want Region, late bool) {
	r := c.come(want)
	if late {
		t.Count("left late")
		<-r.get.done
	} else {
		t.Count("left early")
	}
	c.turnAway(r)
}

// reading is a reader that holds a region.
type reading struct {
	Region
	span Span
}

// end checks that the reader still has the region's bytes, and releases them.
func (r *reading) end(t *seeded.T, c *Cache) {
	if !c.HasRegion(r.Range) {
		t.Count("held after it was dropped")
	}
	var i int
	if _, err := fmt.Sscanf(r.Object, "o%d", &i); err != nil || !bytes.Equal(r.span.Slice(r.Pos, r.Len), object(i)[r.Pos:r.Pos+r.Len]) {
		t.Fatalf("the bytes of %q changed while a reader held them (%v)", r.Object, err)
	}
	r.span.Release()
}

func (c *Cache) checkBooks(t *seeded.T) {
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
