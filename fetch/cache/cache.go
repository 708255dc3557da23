// Package cache keeps bytes in memory that were read from the bucket: blocks of 1 MiB
// of objects, the regions of objects that replays read, and decoded footers and sections.
//
// It owns that memory and the GETs that fill it. It promises:
//
//   - Concurrent misses of one block or region are one GET, and missing neighbours are
//     read in one ranged GET.
//   - Replays never take more than their share of the memory from the blocks, nor a GET
//     from readers of blocks.
//   - A caller that waits for a load gets its result, even if the cache does not keep it.
//   - An error is never kept.
//   - Bytes are not changed while a caller holds a reference to them, even if the cache
//     has dropped them. After the last reference, other bytes are read into their memory.
//
// It never decides whether bytes are sound: its callers check, and call Forget. It
// never retries after an error; a GET without an answer may be sent twice.
package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/objstore"
)

// ErrClosed is a read after Close, or one that Close cut short.
var ErrClosed = errors.New("cache is closed")

// Sizes in bytes.
const (
	BlockSize = 1 << 20 // blocks start at multiples of it; the last one of an object is shorter
	MaxGet    = 8 << 20 // bytes that one ranged GET asks for at most, unless a region is longer

	MinBytes = 16 << 20 // of memory at least: with less, one GET could push out all the rest
)

// Config is the sizes of a cache. Store and the first two sizes are required.
type Config struct {
	Store       objstore.Store // read only
	Pool        *buffer.Pool   // memory of replays; nil: the garbage collector has it
	Bytes       int64          // memory for blocks and replays, 16 MiB or more
	FooterBytes int64          // memory for footers and sections, as far as it can be estimated; 1 MiB or more
	// ReplayBytes is the part of Bytes that replays have for themselves. They also use
	// the memory that blocks leave free. Zero means a quarter.
	ReplayBytes int64
	LoadTimeout time.Duration // limit of one load; zero means 10 s
	Loads       int           // GETs of blocks and footers under way at once; zero means 16
	ReplayLoads int           // GETs of replays under way at once, fewer if they are large; zero means 16
	Hedge       bool          // send a ranged GET again that is among the slowest of its size
}

func (c *Config) validate() error {
	switch {
	case c.Store == nil:
		return errors.New("open cache: no store")
	case c.Bytes < MinBytes:
		return fmt.Errorf("open cache: %d bytes for blocks, give it %d or more", c.Bytes, MinBytes)
	case c.FooterBytes < 1<<20:
		return fmt.Errorf("open cache: %d bytes for footers, give it 1 MiB or more", c.FooterBytes)
	case c.ReplayBytes < 0 || c.ReplayBytes > c.Bytes:
		return fmt.Errorf("open cache: %d bytes for replays, give it a part of the %d bytes there are", c.ReplayBytes, c.Bytes)
	case c.LoadTimeout < 0 || c.Loads < 0 || c.ReplayLoads < 0:
		return errors.New("open cache: negative limit")
	}
	return nil
}

// Cache is safe for concurrent use.
type Cache struct {
	store       objstore.Store
	pool        *buffer.Pool
	loadTimeout time.Duration
	replayLoads int
	hedge       bool
	blockSize   int64
	maxBlocks   int64 // that one GET asks for
	indexes     *ristretto.Cache[string, index]

	slots  chan struct{} // one for each load of blocks or a footer under way
	ctx    context.Context
	cancel context.CancelFunc
	users  sync.WaitGroup // calls and loads; Close waits for them

	mu struct {
		sync.Mutex
		closed  bool
		memory  memory
		hedging hedging
		blocks  map[blockID]*block
		indexes map[string]*flight[index]
		replay  replay
	}
}

// New returns an empty cache. Close it.
func New(cfg Config) (*Cache, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return open(cfg, BlockSize)
}

func open(cfg Config, blockSize int64) (*Cache, error) {
	if cfg.LoadTimeout == 0 {
		cfg.LoadTimeout = 10 * time.Second
	}
	if cfg.Loads == 0 {
		cfg.Loads = 16
	}
	if cfg.ReplayLoads == 0 {
		cfg.ReplayLoads = 16
	}
	if cfg.ReplayBytes == 0 {
		cfg.ReplayBytes = cfg.Bytes / 4
	}
	indexes, err := ristretto.NewCache(policy[index](cfg.FooterBytes, typicalFooter))
	if err != nil {
		return nil, fmt.Errorf("open footer cache: %w", err)
	}
	c := &Cache{
		store:       cfg.Store,
		pool:        cfg.Pool,
		loadTimeout: cfg.LoadTimeout,
		replayLoads: cfg.ReplayLoads,
		hedge:       cfg.Hedge,
		blockSize:   blockSize,
		maxBlocks:   MaxGet / BlockSize,
		indexes:     indexes,
		slots:       make(chan struct{}, cfg.Loads),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.mu.memory = memory{limit: cfg.Bytes, share: cfg.ReplayBytes}
	c.mu.blocks = map[blockID]*block{}
	c.mu.indexes = map[string]*flight[index]{}
	c.mu.replay.regions = map[Range]*region{}
	c.mu.replay.depth.bytes = minDepth
	return c, nil
}

// policy configures a ristretto cache of so many bytes, for items that are typically
// of itemSize, with one counter for four items. Ristretto's documentation has ten
// counters for each item. Then TinyLFU remembers too much: it refuses a log's newest
// objects because older ones were read more often. Smaller items have fewer counters
// each, which is harmless.
func policy[V any](bytes, itemSize int64) *ristretto.Config[string, V] {
	return &ristretto.Config[string, V]{
		NumCounters:        max(bytes/itemSize/4, 2), // 1 panics
		MaxCost:            bytes,
		BufferItems:        64,
		IgnoreInternalCost: true,
	}
}

// Close cancels the loads under way and waits for them and for all calls.
func (c *Cache) Close() {
	c.mu.Lock()
	closed := c.mu.closed
	c.mu.closed = true
	c.mu.Unlock()
	if closed {
		return
	}
	c.cancel()
	c.users.Wait()
	c.indexes.Close()
}

// enter makes Close wait until c.users.Done is called. It fails after Close. The
// ristretto cache may be used only in between: a closed one panics.
func (c *Cache) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return ErrClosed
	}
	c.users.Add(1)
	return nil
}

// flight is a load under way: val and err are set before done is closed.
type flight[V any] struct {
	done chan struct{}
	val  V
	err  error
}

func newFlight[V any]() *flight[V] { return &flight[V]{done: make(chan struct{})} }

func (f *flight[V]) land(val V, err error) {
	f.val, f.err = val, err
	close(f.done)
}

// wait returns the result, or the error of ctx: the load goes on for the other callers.
func (f *flight[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		var zero V
		return zero, ctx.Err()
	}
}

// load runs get on a slot, within the time limit of a load.
func (c *Cache) load(get func(ctx context.Context) error) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ctx.Done():
		return ErrClosed
	}
	return c.limited(get)
}

// limited runs get within the time limit of a load.
func (c *Cache) limited(get func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.loadTimeout)
	defer cancel()
	err := get(ctx)
	if err != nil && c.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}
