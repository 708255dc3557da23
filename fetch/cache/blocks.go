package cache

import (
	"bytes"
	"context"
	"fmt"

	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/objstore"
)

// blockID identifies a block: the number-th of the object.
type blockID struct {
	object string
	number int64
}

// block is a block in memory, or on the way there. It is in the table from the start of
// its load until it is dropped.
type block struct {
	item
	flight *flight[*Block]
}

// landed reports whether the block is in memory.
func (b *block) landed() bool { return b.in != nil }

// run is missing blocks that follow each other, and are read in one GET.
type run struct {
	first  int64 // number of the first block
	blocks []*block
}

// Read returns at least the bytes at a range, of an object that is size bytes long.
// Blocks that are not in memory are read, once for all callers; several runs at the
// same time. When ctx ends, Read returns its error, and the loads go on for the other
// callers. The caller releases the Span.
func (c *Cache) Read(ctx context.Context, at Range, size int64) (Span, error) {
	if at.Pos < 0 || at.Len <= 0 || at.Pos > size-at.Len {
		return Span{}, fmt.Errorf("read %d bytes at %d of %q, which has %d: %w", at.Len, at.Pos, at.Object, size, objstore.ErrRange)
	}
	if err := c.enter(); err != nil {
		return Span{}, err
	}
	defer c.users.Done()

	first, last := at.Pos/c.blockSize, (at.Pos+at.Len-1)/c.blockSize
	s := Span{
		start:     first * c.blockSize,
		end:       min((last+1)*c.blockSize, size),
		blockSize: c.blockSize,
		blocks:    make([]*Block, last-first+1),
	}
	for i, f := range c.join(at.Object, size, first, s.blocks) {
		if f == nil {
			continue
		}
		b, err := f.wait(ctx)
		if err != nil {
			return Span{}, fmt.Errorf("read block %d of %q: %w", first+int64(i), at.Object, err)
		}
		s.blocks[i] = b
	}
	return s, nil
}

// join fills in the blocks that are in memory, from the first one on. It returns a
// flight for each of the others, and starts those that are not under way. It returns nil
// if there are no others.
func (c *Cache) join(key string, size, first int64, blocks []*Block) []*flight[*Block] {
	var flights []*flight[*Block]
	var runs []run
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range blocks {
		number := first + int64(i)
		b := c.mu.blocks[blockID{key, number}]
		if b != nil && b.landed() {
			c.mu.memory.touch(&b.item)
			blocks[i] = b.flight.val
			continue
		}
		if flights == nil {
			flights = make([]*flight[*Block], len(blocks))
		}
		if b == nil {
			b = c.expectBlockLocked(blockID{key, number})
			if n := len(runs); n > 0 && runs[n-1].first+int64(len(runs[n-1].blocks)) == number &&
				int64(len(runs[n-1].blocks)) < c.maxBlocks {
				runs[n-1].blocks = append(runs[n-1].blocks, b)
			} else {
				runs = append(runs, run{first: number, blocks: []*block{b}})
			}
		}
		flights[i] = b.flight
	}
	for _, r := range runs {
		c.users.Go(func() { c.loadRun(key, size, r) })
	}
	return flights
}

// expectBlockLocked puts a block into the table, whose load is about to start.
func (c *Cache) expectBlockLocked(id blockID) *block {
	b := &block{flight: newFlight[*Block]()}
	b.drop = func() { delete(c.mu.blocks, id) }
	c.mu.blocks[id] = b
	return b
}

// loadRun reads a run and lands its flights. Blocks that failed leave the table first,
// so that no later caller gets an old error.
func (c *Cache) loadRun(key string, size int64, r run) {
	off := r.first * c.blockSize
	n := min(int64(len(r.blocks))*c.blockSize, size-off)
	pool := c.pool
	if len(r.blocks) == 1 {
		pool = nil // it becomes the block, which is the garbage collector's
	}
	var memory *buffer.Buffer
	err := c.load(func(ctx context.Context) (err error) {
		memory, err = c.getRange(ctx, pool, key, off, n)
		return err
	})
	parts := make([][]byte, len(r.blocks))
	for i := 0; err == nil && i < len(parts); i++ {
		part := memory.Bytes()[int64(i)*c.blockSize:]
		parts[i] = part[:min(int64(len(part)), c.blockSize)]
		if len(parts) > 1 {
			parts[i] = bytes.Clone(parts[i]) // else one block that stays would hold the memory of them all
		}
	}
	if len(parts) > 1 {
		memory.Release()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range r.blocks {
		id := blockID{key, r.first + int64(i)}
		switch {
		case err == nil:
			c.landLocked(id, b, parts[i])
			continue
		case c.mu.blocks[id] == b:
			delete(c.mu.blocks, id)
		}
		b.flight.land(nil, err)
	}
	c.mu.memory.trim()
}

// landLocked puts a block into memory, unless Forget took it out of the table during its
// load.
func (c *Cache) landLocked(id blockID, b *block, data []byte) {
	b.bytes = int64(len(data))
	if c.mu.blocks[id] == b {
		c.mu.memory.put(&c.mu.memory.blocks, &b.item)
	}
	b.flight.land(NewBlock(data, nil), nil)
}

// keep puts a block into memory that was read together with a footer.
func (c *Cache) keep(id blockID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.blocks[id] == nil {
		c.landLocked(id, c.expectBlockLocked(id), data)
		c.mu.memory.trim()
	}
}

// InMemory reports whether the bytes at a range of a journal object, and the object's
// footer, can be had without a GET.
func (c *Cache) InMemory(at Range) bool {
	if c.enter() != nil {
		return false
	}
	defer c.users.Done()
	if !c.holds(at) {
		return false
	}
	_, ok := c.indexes.Get(at.Object)
	return ok
}

func (c *Cache) holds(at Range) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for number := at.Pos / c.blockSize; number*c.blockSize < at.Pos+at.Len; number++ {
		if b := c.mu.blocks[blockID{at.Object, number}]; b == nil || !b.landed() {
			return false
		}
	}
	return true
}

// Forget drops the blocks that hold a range, because they were found damaged: the next
// reader gets them from the store again.
func (c *Cache) Forget(at Range) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for number := at.Pos / c.blockSize; number*c.blockSize < at.Pos+at.Len; number++ {
		id := blockID{at.Object, number}
		if b := c.mu.blocks[id]; b != nil {
			c.mu.memory.remove(&b.item)
			delete(c.mu.blocks, id)
		}
	}
}
