package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// regionAt returns a region of n bytes whose Check accepts them.
func regionAt(object string, pos, n int64) Region {
	return Region{Range: Range{object, pos, n}, Check: func(*Block) ([]segment.SparseEntry, error) { return nil, nil }}
}

func whole(object string) Region { return regionAt(object, 0, testBlock) }

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

// settle waits for the GETs of replays.
func (c *Cache) settle() {
	for {
		c.mu.Lock()
		var done chan struct{}
		for _, r := range c.mu.replay.regions {
			select {
			case <-r.get.done:
			default:
				done = r.get.done
			}
		}
		c.mu.Unlock()
		if done == nil {
			return
		}
		<-done
	}
}

// objects is a store with n objects of one block each: o0, o1 and so on.
func objects(t testing.TB, n int) *counting {
	all := map[string][]byte{}
	for i := range n {
		all[fmt.Sprint("o", i)] = pattern(testBlock)
	}
	return &counting{Store: storeWith(t, all)}
}

// failer is a test, or one of rapid's.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func (c *Cache) mustRead(t failer, r Region) Checked {
	t.Helper()
	got, err := c.Region(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRegionsAreReadOnceForAll(t *testing.T) {
	store := gated(storeWith(t, map[string][]byte{"o": pattern(testBlock)}))
	c := newCache(t, store, 16, nil)
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			got, err := c.Region(t.Context(), regionAt("o", 100, 200))
			if err != nil || !bytes.Equal(got.Span.Slice(100, 200), pattern(testBlock)[100:300]) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	<-store.entered
	close(store.gate)
	readers.Wait()
	if got := c.mustRead(t, regionAt("o", 100, 200)); got.Waited || store.gets.Load() != 1 || store.bytes.Load() != 200 {
		t.Errorf("waited %t, %d GETs of %d bytes, want one of 200", got.Waited, store.gets.Load(), store.bytes.Load())
	}
}

func TestNearbyRegionsAreOneGet(t *testing.T) {
	const size = 20 << 20
	for _, tc := range []struct {
		name        string
		regions     []Region
		gets, bytes int64
	}{
		{"side by side, in any order", []Region{regionAt("o", 100, 50), regionAt("o", 0, 100), regionAt("o", 150, 1)}, 1, 151},
		{"a gap that is worth it", []Region{regionAt("o", 0, 100), regionAt("o", 100+maxGap, 100)}, 1, 200 + maxGap},
		{"a gap that is not", []Region{regionAt("o", 0, 100), regionAt("o", 101+maxGap, 100)}, 2, 200},
		{"more than one GET takes", []Region{regionAt("o", 0, MaxGet-10), regionAt("o", MaxGet-10, 11)}, 2, MaxGet + 1},
		{"a region above that", []Region{regionAt("o", 0, MaxGet+10), regionAt("o", MaxGet+10, 10)}, 2, MaxGet + 20},
		{"of two objects", []Region{regionAt("o", 0, 10), regionAt("p", 10, 10), regionAt("o", 10, 10)}, 2, 30},
		{"the same twice", []Region{regionAt("o", 0, 10), regionAt("o", 0, 10)}, 1, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store := &counting{Store: zeros{}}
			c := newCache(t, store, size/testBlock, nil)
			c.Want(tc.regions)
			for _, r := range tc.regions {
				if got := c.mustRead(t, r); !got.Span.Holds(r.Pos, r.Len) || got.Span.Holds(r.Pos, r.Len+1) {
					t.Errorf("the span is not the region at %d", r.Pos)
				}
			}
			if store.gets.Load() != tc.gets || store.bytes.Load() != tc.bytes {
				t.Errorf("%d GETs of %d bytes, want %d of %d", store.gets.Load(), store.bytes.Load(), tc.gets, tc.bytes)
			}
		})
	}
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

func (s recording) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	s.order <- key
	return s.Store.GetRange(ctx, key, off, n)
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

// TestRegionMayGoWhileItIsFound has a reader of the region that is the next to go,
// when GETs that get a slot need its room.
func TestRegionMayGoWhileItIsFound(t *testing.T) {
	store := gated(objects(t, 10).Store)
	c := newCache(t, store, 4, func(cfg *Config) { cfg.ReplayBytes, cfg.ReplayLoads = 4*testBlock, 1 })
	close(store.gate)
	for i := range 4 {
		c.mustRead(t, whole(fmt.Sprint("o", i)))
	}
	c.settle()
	c.mu.Lock() // as if a slot had become free just now
	c.queueLocked([]Ask{{Region: regionAt("o5", 0, testBlock)}, {Region: regionAt("o6", 0, testBlock)}}, false)
	c.mu.memory.limit = testBlock
	c.mu.Unlock()
	if got := c.mustRead(t, whole("o0")); !bytes.Equal(got.Span.Slice(0, testBlock), pattern(testBlock)) {
		t.Error("the bytes are wrong")
	}
	c.settle()
}

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

func TestRegionsThatFailAreReadAgain(t *testing.T) {
	var damage, fail bool
	store := mem.New(nil, func(mem.Call) mem.Action {
		if fail {
			return mem.FailBefore(errors.New("out of order"))
		}
		return mem.Action{}
	})
	store.PutNow("o", pattern(testBlock))
	c := newCache(t, store, 16, nil)
	errDamaged := errors.New("damaged")
	bad := whole("o")
	bad.Check = func(b *Block) ([]segment.SparseEntry, error) {
		if damage || len(b.Bytes()) != testBlock {
			return nil, errDamaged
		}
		return []segment.SparseEntry{{RelOffset: 7}}, nil
	}
	var a Ahead
	damage = true
	if n := c.aheadOf(&a, bad); n != 1 || c.HasRegion(Range{"o", 0, testBlock}) {
		t.Error("a damaged region is kept")
	}
	if s := c.Replays(); s.Ahead != testBlock || s.Wasted != testBlock {
		t.Errorf("counted as %+v", s)
	}
	if _, err := c.Region(t.Context(), bad); !errors.Is(err, errDamaged) {
		t.Errorf("error %v, want the check's", err)
	}
	damage, fail = false, true
	if _, err := c.Region(t.Context(), bad); err == nil {
		t.Error("no error")
	}
	fail = false
	if got := c.mustRead(t, bad); len(got.Sparse) != 1 {
		t.Error("the result of the check is lost")
	}
	c.ForgetRegion(Range{"o", 0, testBlock})
	if got := c.mustRead(t, bad); !got.Waited {
		t.Error("a forgotten region was not read again")
	}
	if _, err := c.Region(t.Context(), whole("absent")); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	if m := &c.mu.memory; m.loading != 0 || m.read.bytes != testBlock {
		t.Errorf("%d bytes on the way, %d read", m.loading, m.read.bytes)
	}
}

func TestReaderOfARegionLeavesWithoutCancellingIt(t *testing.T) {
	store := gated(objects(t, 1).Store)
	c := newCache(t, store, 16, nil)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := c.Region(ctx, whole("o0")); left <- err }()
	<-store.entered
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(store.gate)
	c.settle()
	if c.mustRead(t, whole("o0")); store.gets.Load() != 1 {
		t.Errorf("%d GETs, want 1", store.gets.Load())
	}
}

func TestCloseEndsReplays(t *testing.T) {
	store := gated(objects(t, 4).Store)
	c := newCache(t, store, 16, func(cfg *Config) { cfg.ReplayLoads = 1 })
	errs := make(chan error, 2)
	for i := range 2 { // one has the slot, one waits for it
		go func() { _, err := c.Region(t.Context(), whole(fmt.Sprint("o", i))); errs <- err }()
	}
	<-store.entered
	c.Close()
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	}
	var a Ahead
	if n := c.ReadAhead([]Ask{{whole("o2"), &a}}); n != 0 {
		t.Error("a closed cache reads ahead")
	}
	if _, err := c.Region(t.Context(), whole("o3")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
}

// TestMemoryAddsUp does anything at any time, and checks that the books of the memory and
// of read-ahead agree with the regions in the table.
func TestMemoryAddsUp(t *testing.T) {
	store := objects(t, 30)
	rapid.Check(t, func(rt *rapid.T) {
		c := newCache(t, store, 10, func(cfg *Config) { cfg.ReplayBytes = 5 * testBlock })
		accounts := make([]Ahead, 3)
		anyRegion := func() Region {
			half := rapid.Int64Range(0, 1).Draw(rt, "half")
			return regionAt(fmt.Sprint("o", rapid.IntRange(0, 29).Draw(rt, "object")), half*testBlock/2, testBlock/2)
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			a := &accounts[rapid.IntRange(0, 2).Draw(rt, "account")]
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1:
				c.aheadOf(a, anyRegion(), anyRegion(), anyRegion())
			case 2, 3:
				c.mustRead(rt, anyRegion())
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
		c.Close()
	})
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
