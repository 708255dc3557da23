package cache

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
)

// aheadOf reads regions ahead and waits until they are there.
func (c *Cache) aheadOf(a *Ahead, regions ...Region) (taken int) {
	asks := make([]Ask, len(regions))
	for i, r := range regions {
		asks[i] = Ask{Region: r, For: a}
	}
	taken = c.ReadAhead(asks)
	c.settle()
	return taken
}

func TestWhoWaitsComesBeforeReadAhead(t *testing.T) {
	store := gated(objects(t, 6).Store)
	order := make(chan string, 10)
	c := newCache(t, recording{store, order}, 64, func(cfg *Config) { cfg.ReplayLoads = 1 })
	var a Ahead
	asks := []Ask{{whole("o0"), &a}, {whole("o1"), &a}, {whole("o2"), &a}, {whole("o3"), &a}}
	if n := c.ReadAhead(asks); n != 4 {
		t.Fatalf("%d were taken, want 4", n)
	}
	<-store.entered // o0 has the slot
	var readers sync.WaitGroup
	for _, key := range []string{"o3", "o5"} { // one that is read ahead later, and a new one
		readers.Go(func() {
			if _, err := c.Region(t.Context(), whole(key)); err != nil {
				t.Error(err)
			}
		})
		for !c.wanted(key) {
			c.pause()
		}
	}
	close(store.gate)
	readers.Wait()
	c.settle()
	close(order)
	var got []string
	for key := range order {
		got = append(got, key)
	}
	if want := []string{"o0", "o3", "o5", "o1", "o2"}; !slices.Equal(got, want) {
		t.Errorf("GETs in the order %v, want %v", got, want)
	}
	if s := c.Replays(); s.Ahead != 3*testBlock || s.Used != 0 || s.Gets != 5 || s.Read != 5*testBlock {
		t.Errorf("counted as %+v", s)
	}
}

// wanted reports whether a reader waits for the GET of the object.
func (c *Cache) wanted(object string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.mu.replay.wanted.Front(); e != nil; e = e.Next() {
		if e.Value.(*rangedGet).object == object {
			return true
		}
	}
	return false
}

// pause lets others have the lock.
func (c *Cache) pause() { c.mu.Lock(); c.mu.Unlock() }

// recording reports the order of GETs.
type recording struct {
	objstore.Store
	order chan string
}

func (s recording) GetRange(ctx context.Context, key string, off int64, dst []byte) error {
	s.order <- key
	return s.Store.GetRange(ctx, key, off, dst)
}

func TestReadAheadIsUsedOrWasted(t *testing.T) {
	store := objects(t, 20)
	c := newCache(t, store, 8, func(cfg *Config) { cfg.ReplayBytes, cfg.ReplayLoads = testBlock, 1 })
	var a Ahead
	if n := c.aheadOf(&a, whole("o0"), whole("o1"), whole("o2")); n != 3 {
		t.Fatalf("%d were taken, want 3: no other reader uses the memory", n)
	}
	c.mustRead(t, whole("o1"))
	if s := c.Replays(); s.Ahead != 3*testBlock || s.Used != testBlock || s.Wasted != 0 || s.Gets != 3 {
		t.Errorf("counted as %+v", s)
	}
	for i := 3; i < 20; i++ { // until replays are left with their share
		if _, err := c.Read(t.Context(), Range{fmt.Sprint("o", i), 0, 1}, testBlock); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Replays(); s.Used != testBlock || s.Wasted != testBlock || c.HasRegion(Range{"o0", 0, testBlock}) || !c.HasRegion(Range{"o2", 0, testBlock}) {
		t.Errorf("counted as %+v, or others than the oldest went", s)
	}
	if lost, _ := c.Look(&a); lost != testBlock {
		t.Errorf("%d bytes lost, want those of one object", lost)
	}
	if lost, _ := c.Look(&a); lost != 0 {
		t.Errorf("%d bytes lost again", lost)
	}
}

func TestReadAheadNeverPushesOutReadAhead(t *testing.T) {
	store := objects(t, 20)
	c := newCache(t, store, 8, func(cfg *Config) { cfg.ReplayBytes = 4 * testBlock })
	for i := range 8 { // blocks fill the memory
		if _, err := c.Read(t.Context(), Range{fmt.Sprint("o", i), 0, 1}, testBlock); err != nil {
			t.Fatal(err)
		}
	}
	var a, b Ahead
	if n := c.aheadOf(&a, whole("o10"), whole("o11"), whole("o12"), whole("o13"), whole("o14")); n != 4 {
		t.Errorf("%d were taken, want as many as the share of replays", n)
	}
	if n := c.aheadOf(&b, whole("o15")); n != 0 {
		t.Errorf("%d were taken for another reader, want none", n)
	}
	c.mustRead(t, whole("o10")) // which may go now
	if n := c.aheadOf(&b, whole("o15")); n != 1 {
		t.Errorf("%d were taken, want one in the place of bytes that were read", n)
	}
	if lost, _ := c.Look(&a); lost != 0 {
		t.Errorf("%d bytes were lost", lost)
	}
}

func TestAbandonedReadAheadEndsAndGoesFirst(t *testing.T) {
	store := gated(objects(t, 20).Store)
	c := newCache(t, store, 8, func(cfg *Config) { cfg.ReplayBytes, cfg.ReplayLoads = 8*testBlock, 1 })
	var a, b Ahead
	c.ReadAhead([]Ask{{whole("o0"), &a}, {whole("o1"), &a}, {whole("o2"), &b}})
	<-store.entered
	c.Abandon(&a) // o0 is on its way
	close(store.gate)
	c.settle()
	if c.HasRegion(Range{"o1", 0, testBlock}) || !c.HasRegion(Range{"o2", 0, testBlock}) || store.gets.Load() != 2 {
		t.Errorf("%d GETs, want those of o0 and o2", store.gets.Load())
	}
	c.aheadOf(&a, whole("o3"), whole("o4"))
	c.mustRead(t, whole("o2"))
	c.Abandon(&a)
	for i := 10; i < 17; i++ {
		c.mustRead(t, whole(fmt.Sprint("o", i)))
	}
	for object, want := range map[string]bool{"o0": false, "o3": false, "o4": false, "o2": true, "o16": true} {
		if c.HasRegion(Range{object, 0, testBlock}) != want {
			t.Errorf("%s in memory: %t, want %t", object, !want, want)
		}
	}
}

// TestAbandonedReadAheadIsReadForWhoWaits has one GET for two regions, of which a
// reader waits for one when the other is given up.
func TestAbandonedReadAheadIsReadForWhoWaits(t *testing.T) {
	store := gated(objects(t, 2).Store)
	c := newCache(t, store, 16, func(cfg *Config) { cfg.ReplayLoads = 1 })
	var a, b Ahead
	c.ReadAhead([]Ask{{whole("o0"), &b}, {regionAt("o1", 0, 100), &a}, {regionAt("o1", 100, 100), &a}})
	<-store.entered
	done := make(chan error)
	go func() { _, err := c.Region(t.Context(), regionAt("o1", 0, 100)); done <- err }()
	for !c.wanted("o1") {
		c.pause()
	}
	c.Abandon(&a)
	close(store.gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.settle()
	if m := &c.mu.memory; m.loading != 0 || m.waiting != 0 {
		t.Errorf("%d bytes on the way, %d waiting", m.loading, m.waiting)
	}
}
