package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
	"github.com/varvelog/varve/tiering/segment"
)

// regionAt returns a region of n bytes whose Check accepts them.
func regionAt(object string, pos, n int64) Region {
	return Region{Range: Range{object, pos, n}, Check: func(*Block) ([]segment.SparseEntry, error) { return nil, nil }}
}

func whole(object string) Region { return regionAt(object, 0, testBlock) }

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
		all[fmt.Sprint("o", i)] = object(i)
	}
	return &counting{Store: storeWith(t, all)}
}

// object is the i-th of objects.
func object(i int) []byte {
	b := pattern(testBlock)
	for at := range b {
		b[at] += byte(i)
	}
	return b
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

// TestReferencesEnd has readers that take a region, that leave before and after it landed,
// and that come later. At the end no reference is left.
func TestReferencesEnd(t *testing.T) {
	store := gated(objects(t, 1).Store)
	c := newCache(t, store, 16, nil)
	early, late, stays := c.come(whole("o0")), c.come(whole("o0")), make(chan Checked)
	go func() { got, _ := c.Region(t.Context(), whole("o0")); stays <- got }()
	<-store.entered
	c.turnAway(early)
	close(store.gate)
	first := <-stays
	c.turnAway(late)
	second := c.mustRead(t, whole("o0"))
	c.ForgetRegion(Range{"o0", 0, testBlock})
	for _, got := range []Checked{first, second} {
		if c.pool.InUse() == 0 || !bytes.Equal(got.Span.Slice(0, testBlock), object(0)) {
			t.Error("the memory went before its last reader")
		}
		got.Span.Release()
	}
	if n := c.pool.InUse(); n != 0 {
		t.Errorf("%d bytes are left", n)
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
