package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/objstore/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBlock is a small block, so that tests need little memory.
const testBlock = 1 << 10

func newCache(t testing.TB, store objstore.Store, blocks int64, change func(*Config)) *Cache {
	t.Helper()
	cfg := Config{Store: store, Bytes: blocks * testBlock, FooterBytes: 1 << 20, Pool: buffer.NewPool(blocks * testBlock)}
	if change != nil {
		change(&cfg)
	}
	c, err := open(cfg, testBlock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// pattern returns n bytes in which every stretch shows its position.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

// counting is a store that counts its reads and can hold them back.
type counting struct {
	objstore.Store
	gets, bytes atomic.Int64
	gate        chan struct{} // reads wait until it is closed; nil: they do not
	entered     chan struct{} // one value for each read that waits
}

func gated(store objstore.Store) *counting {
	return &counting{Store: store, gate: make(chan struct{}), entered: make(chan struct{}, 100)}
}

func (s *counting) GetRange(ctx context.Context, key string, off int64, dst []byte) error {
	if err := s.arrive(ctx, int64(len(dst))); err != nil {
		return err
	}
	return s.Store.GetRange(ctx, key, off, dst)
}

func (s *counting) GetTail(ctx context.Context, key string, n int64) ([]byte, int64, error) {
	if err := s.arrive(ctx, n); err != nil {
		return nil, 0, err
	}
	return s.Store.GetTail(ctx, key, n)
}

func (s *counting) arrive(ctx context.Context, n int64) error {
	s.gets.Add(1)
	s.bytes.Add(n)
	if s.gate == nil {
		return nil
	}
	s.entered <- struct{}{}
	select {
	case <-s.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func storeWith(t testing.TB, objects map[string][]byte) *mem.Store {
	t.Helper()
	store := mem.New(nil, nil)
	for k, b := range objects {
		store.PutNow(k, b)
	}
	return store
}

func TestReadReturnsTheBytesOfTheObject(t *testing.T) {
	object := pattern(10*testBlock + 77)
	store := storeWith(t, map[string][]byte{"o": object})
	rapid.Check(t, func(rt *rapid.T) {
		c := newCache(t, store, rapid.Int64Range(1, 20).Draw(rt, "blocks"), nil)
		for range rapid.IntRange(1, 20).Draw(rt, "reads") {
			off := rapid.IntRange(0, len(object)-1).Draw(rt, "off")
			n := rapid.IntRange(1, len(object)-off).Draw(rt, "n")
			s, err := c.Read(t.Context(), Range{"o", int64(off), int64(n)}, int64(len(object)))
			if err != nil {
				rt.Fatal(err)
			}
			if !s.Holds(int64(off), int64(n)) || s.Holds(int64(len(object)), 1) {
				rt.Fatalf("span from %d to %d for %d bytes at %d", s.start, s.end, n, off)
			}
			got := s.Slice(int64(off), int64(n))
			if !bytes.Equal(got, object[off:off+n]) || cap(got) != n {
				rt.Fatalf("%d bytes at %d are wrong, or have capacity %d", n, off, cap(got))
			}
		}
		c.Close()
	})
}

func TestReadOutsideTheObjectIsRefused(t *testing.T) {
	c := newCache(t, storeWith(t, map[string][]byte{"o": pattern(100)}), 4, nil)
	for _, r := range [][2]int64{{-1, 5}, {0, 0}, {0, 101}, {100, 1}, {99, 1 << 62}} {
		if _, err := c.Read(t.Context(), Range{"o", r[0], r[1]}, 100); !errors.Is(err, objstore.ErrRange) {
			t.Errorf("%d bytes at %d: error %v", r[1], r[0], err)
		}
	}
}

func TestConcurrentMissesAreOneGet(t *testing.T) {
	store := gated(storeWith(t, map[string][]byte{"o": pattern(testBlock)}))
	c := newCache(t, store, 16, nil)
	var readers sync.WaitGroup
	for range 50 {
		readers.Go(func() {
			if _, err := c.Read(t.Context(), Range{"o", 0, 10}, testBlock); err != nil {
				t.Error(err)
			}
		})
	}
	<-store.entered
	close(store.gate)
	readers.Wait()
	if n := store.gets.Load(); n != 1 {
		t.Errorf("%d GETs, want 1", n)
	}
}

func TestMissingNeighboursAreReadInOneGet(t *testing.T) {
	const blocks = 20
	store := &counting{Store: storeWith(t, map[string][]byte{"o": pattern(blocks * testBlock)})}
	c := newCache(t, store, 100, nil)
	read := func(first, n int64) (gets, bytes int64) {
		t.Helper()
		gets, bytes = store.gets.Load(), store.bytes.Load()
		if _, err := c.Read(t.Context(), Range{"o", first * testBlock, n * testBlock}, blocks*testBlock); err != nil {
			t.Fatal(err)
		}
		return store.gets.Load() - gets, store.bytes.Load() - bytes
	}
	if gets, bytes := read(4, 1); gets != 1 || bytes != testBlock {
		t.Errorf("one block took %d GETs, %d bytes", gets, bytes)
	}
	// Block 4 is there: 0-3, and 5-19 in runs of at most 8.
	if gets, bytes := read(0, blocks); gets != 3 || bytes != (blocks-1)*testBlock {
		t.Errorf("the rest took %d GETs, %d bytes, want 3 of %d", gets, bytes, (blocks-1)*testBlock)
	}
	if gets, _ := read(0, blocks); gets != 0 {
		t.Errorf("cached blocks took %d GETs", gets)
	}
	if b := c.mu.blocks[blockID{"o", 5}].flight.val; cap(b.data) >= 2*testBlock {
		t.Errorf("a cached block keeps %d bytes in memory", cap(b.data))
	}
}

func TestWaiterLeavesWithoutCancellingTheLoad(t *testing.T) {
	store := gated(storeWith(t, map[string][]byte{"o": pattern(testBlock)}))
	c := newCache(t, store, 16, nil)
	ctx, cancel := context.WithCancel(t.Context())
	left, stayed := make(chan error), make(chan error)
	go func() { _, err := c.Read(ctx, Range{"o", 0, 10}, testBlock); left <- err }()
	<-store.entered
	go func() { _, err := c.Read(t.Context(), Range{"o", 0, 10}, testBlock); stayed <- err }()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(store.gate)
	if err := <-stayed; err != nil {
		t.Errorf("who stayed got %v", err)
	}
	if n := store.gets.Load(); n != 1 {
		t.Errorf("%d GETs, want 1", n)
	}
}

func TestLoadHasItsOwnLimit(t *testing.T) {
	store := gated(storeWith(t, map[string][]byte{"o": pattern(testBlock)}))
	c := newCache(t, store, 16, func(cfg *Config) { cfg.LoadTimeout = time.Millisecond })
	if _, err := c.Read(t.Context(), Range{"o", 0, 10}, testBlock); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the load's deadline", err)
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	store := mem.New(nil, func(mem.Call) mem.Action {
		if failing.Load() {
			return mem.FailBefore(errors.New("out of order"))
		}
		return mem.Action{}
	})
	store.PutNow("o", pattern(3*testBlock))
	c := newCache(t, store, 16, nil)
	if _, err := c.Read(t.Context(), Range{"o", 0, 3 * testBlock}, 3*testBlock); err == nil {
		t.Fatal("no error")
	}
	if _, err := c.Read(t.Context(), Range{"absent", 0, 1}, 3*testBlock); err == nil {
		t.Fatal("no error")
	}
	failing.Store(false)
	if _, err := c.Read(t.Context(), Range{"o", 0, 3 * testBlock}, 3*testBlock); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(t.Context(), Range{"absent", 0, 1}, 3*testBlock); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

func TestForgottenBlocksAreReadAgain(t *testing.T) {
	store := &counting{Store: storeWith(t, map[string][]byte{"o": pattern(4 * testBlock)})}
	c := newCache(t, store, 16, nil)
	read := func() {
		t.Helper()
		if _, err := c.Read(t.Context(), Range{"o", 0, 4 * testBlock}, 4*testBlock); err != nil {
			t.Fatal(err)
		}
	}
	read()
	c.Forget(Range{"o", testBlock - 1, 2})
	store.bytes.Store(0)
	read()
	if n := store.bytes.Load(); n != 2*testBlock {
		t.Errorf("%d bytes were read again, want the two blocks", n)
	}
}

func TestCloseEndsLoadsAndWaits(t *testing.T) {
	store := gated(storeWith(t, map[string][]byte{"o": pattern(testBlock)}))
	c := newCache(t, store, 16, func(cfg *Config) { cfg.Loads = 1 })
	errs := make(chan error, 2)
	for _, off := range []int64{0, testBlock} { // one has the slot, one waits for it
		go func() { _, err := c.Read(t.Context(), Range{"o", off, 10}, 2*testBlock); errs <- err }()
	}
	<-store.entered
	c.Close()
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	}
	if _, err := c.Read(t.Context(), Range{"o", 0, 10}, testBlock); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
	c.Forget(Range{"o", 0, 1})
	c.Close()
}

func TestCloseDuringReadsDoesNotPanic(t *testing.T) {
	c := newCache(t, storeWith(t, map[string][]byte{"o": pattern(64 * testBlock)}), 16, nil)
	var readers sync.WaitGroup
	started := make(chan struct{}, 4)
	for i := range 4 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for n := 0; ; n++ {
				if n == 20 {
					started <- struct{}{}
				}
				off := rng.Int64N(63 * testBlock)
				if _, err := c.Read(t.Context(), Range{"o", off, testBlock}, 64*testBlock); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				c.Forget(Range{"o", off, 1})
			}
		})
	}
	for range 4 {
		<-started
	}
	c.Close()
	readers.Wait()
}

// TestTailCostsOneGetPerBlock reads a log's newest blocks in a cache that is full of
// blocks which were read more often. Three consumers at different lags, all within the
// cache, read each block in four pieces.
func TestTailCostsOneGetPerBlock(t *testing.T) {
	const blocks, cached, pieces = 2560, 256, 4
	store := &counting{Store: zeros{}}
	c := newCache(t, store, cached, nil)
	read := func(key string, piece int64) {
		if _, err := c.Read(t.Context(), Range{key, piece * testBlock / pieces, testBlock / pieces}, testBlock); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for i := range cached {
			for piece := range int64(pieces) {
				read(fmt.Sprint("old", i), piece)
			}
		}
	}
	if n := store.gets.Load(); n != cached {
		t.Errorf("%d GETs for %d blocks that fit", n, cached)
	}
	store.gets.Store(0)
	for i := range blocks {
		for _, lag := range []int{0, 8, 32} {
			for piece := range int64(pieces) {
				if i >= lag {
					read(fmt.Sprint("new", i-lag), piece)
				}
			}
		}
	}
	if n := store.gets.Load(); n != blocks {
		t.Errorf("%d GETs for %d blocks", n, blocks)
	}
}

// zeros is a store in which every object is zeros.
type zeros struct{ objstore.Store }

func (zeros) GetRange(_ context.Context, _ string, _ int64, dst []byte) error {
	clear(dst)
	return nil
}

func TestBadConfigIsRefused(t *testing.T) {
	good := Config{Store: mem.New(nil, nil), Bytes: MinBytes, FooterBytes: 1 << 20}
	c, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for name, change := range map[string]func(*Config){
		"no store":       func(c *Config) { c.Store = nil },
		"few blocks":     func(c *Config) { c.Bytes-- },
		"few footers":    func(c *Config) { c.FooterBytes = 0 },
		"large share":    func(c *Config) { c.ReplayBytes = c.Bytes + 1 },
		"negative share": func(c *Config) { c.ReplayBytes = -1 },
		"negative limit": func(c *Config) { c.Loads = -1 },
		"negative GETs":  func(c *Config) { c.ReplayLoads = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkReadHot(b *testing.B) {
	object := pattern(8 * testBlock)
	c := newCache(b, storeWith(b, map[string][]byte{"o": object}), 64, nil)
	b.ReportAllocs()
	for b.Loop() {
		s, err := c.Read(b.Context(), Range{"o", testBlock / 2, testBlock}, int64(len(object)))
		if err != nil {
			b.Fatal(err)
		}
		s.Slice(testBlock/2, testBlock/4)
	}
}
