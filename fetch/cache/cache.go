// Package cache holds in memory what has been read from the bucket: blocks of
// 1 MiB of objects, and decoded footers.
//
// It owns two ristretto caches and the GETs that fill them. It promises that
// concurrent misses of one block are one GET, that missing neighbours are read
// in one ranged GET, that whoever waits for a load gets its result even when the
// cache does not keep it, that an error is never kept, and that a value is never
// changed: whoever holds a slice may read it for as long as it likes. It never
// decides whether bytes are what they should be (a caller that finds them
// damaged calls Forget), and it never retries.
package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/varvelog/varve/tiering/objstore"
)

// ErrClosed is a read after Close, or one that Close cut short.
var ErrClosed = errors.New("cache is closed")

// Sizes in bytes.
const (
	BlockSize = 1 << 20 // blocks start at multiples of it; the last one of an object is shorter
	MaxGet    = 8 << 20 // the most that one ranged GET asks for

	minBytes = 16 << 20 // below this one GET could push out all the rest
)

// Config says how large a cache is. All fields but the last two are required.
type Config struct {
	Store       objstore.Store // read only
	BlockBytes  int64          // memory for blocks, 16 MiB or more
	FooterBytes int64          // memory for footers, as far as it can be estimated; 1 MiB or more
	LoadTimeout time.Duration  // limit of one load; zero means 10 s
	Loads       int            // GETs under way at once, each of up to MaxGet; zero means 16
}

func (c *Config) validate() error {
	switch {
	case c.Store == nil:
		return errors.New("open cache: no store")
	case c.BlockBytes < minBytes:
		return fmt.Errorf("open cache: %d bytes for blocks, give it %d or more", c.BlockBytes, minBytes)
	case c.FooterBytes < 1<<20:
		return fmt.Errorf("open cache: %d bytes for footers, give it 1 MiB or more", c.FooterBytes)
	case c.LoadTimeout < 0 || c.Loads < 0:
		return errors.New("open cache: negative limit")
	}
	return nil
}

// Cache is safe for concurrent use.
type Cache struct {
	store       objstore.Store
	loadTimeout time.Duration
	blockSize   int64
	maxBlocks   int64 // that one GET asks for
	blocks      *ristretto.Cache[string, *Block]
	footers     *ristretto.Cache[string, *Object]

	slots  chan struct{} // one for each load under way
	ctx    context.Context
	cancel context.CancelFunc
	users  sync.WaitGroup // calls and loads; Close waits for them

	mu struct {
		sync.Mutex
		closed  bool
		blocks  map[string]*flight[*Block]
		footers map[string]*flight[*Object]
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
	blocks, err := ristretto.NewCache(policy[*Block](cfg.BlockBytes, blockSize))
	if err != nil {
		return nil, fmt.Errorf("open block cache: %w", err)
	}
	footers, err := ristretto.NewCache(policy[*Object](cfg.FooterBytes, typicalFooter))
	if err != nil {
		blocks.Close()
		return nil, fmt.Errorf("open footer cache: %w", err)
	}
	c := &Cache{
		store:       cfg.Store,
		loadTimeout: cfg.LoadTimeout,
		blockSize:   blockSize,
		maxBlocks:   MaxGet / BlockSize,
		blocks:      blocks,
		footers:     footers,
		slots:       make(chan struct{}, cfg.Loads),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.mu.blocks = map[string]*flight[*Block]{}
	c.mu.footers = map[string]*flight[*Object]{}
	return c, nil
}

// policy sets up a ristretto cache of so many bytes, for items that are typically
// of itemSize, with one counter for four items. With ten counters for each, as
// ristretto's documentation has it, TinyLFU remembers too much: it turns a log's
// newest blocks away because older ones were read more often. GETs per block of a
// full cache of 256 blocks, three consumers at lags of 0, 8 and 32 blocks, and
// with a scan at four times their pace beside them:
//
//	counters per block   0.01  0.25  0.5   1     2     10
//	three consumers      1.16  1.10  1.07  1.12  1.5   4.7
//	with a scan          1.13  1.13  1.16  1.4   1.9
//
// Where items are smaller there are fewer counters for each, which is harmless.
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
	c.blocks.Close()
	c.footers.Close()
}

// enter keeps Close waiting until c.users.Done is called. It fails after Close.
// Nothing may touch the ristretto caches outside of it: a closed one panics.
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

// wait returns the result, or ctx's error: the load goes on for the others.
func (f *flight[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		var zero V
		return zero, ctx.Err()
	}
}

// load runs get on a slot and within the limit of a load.
func (c *Cache) load(get func(ctx context.Context) error) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ctx.Done():
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.loadTimeout)
	defer cancel()
	err := get(ctx)
	if err != nil && c.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}
