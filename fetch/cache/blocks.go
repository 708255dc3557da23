package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/varvelog/varve/tiering/objstore"
)

// run is missing blocks that lie side by side and are read in one GET.
type run struct {
	first   int64 // number of the first block
	flights []*flight[*Block]
}

// Read returns at least n bytes from offset off of the object at key, which is
// size bytes long. What is not in memory is read, once for all who ask; several
// runs at the same time. When ctx ends Read returns its error, and the loads go
// on for the others.
func (c *Cache) Read(ctx context.Context, key string, size, off, n int64) (Span, error) {
	if off < 0 || n <= 0 || off > size-n {
		return Span{}, fmt.Errorf("read %d bytes at %d of %q, which has %d: %w", n, off, key, size, objstore.ErrRange)
	}
	if err := c.enter(); err != nil {
		return Span{}, err
	}
	defer c.users.Done()

	first, last := off/c.blockSize, (off+n-1)/c.blockSize
	s := Span{
		start:     first * c.blockSize,
		end:       min((last+1)*c.blockSize, size),
		blockSize: c.blockSize,
		blocks:    make([]*Block, last-first+1),
	}
	missing := false
	for i := range s.blocks {
		b, ok := c.blocks.Get(blockKey(key, first+int64(i)))
		s.blocks[i] = b
		missing = missing || !ok
	}
	if !missing {
		return s, nil
	}
	for i, f := range c.join(key, size, first, s.blocks) {
		if f == nil {
			continue
		}
		b, err := f.wait(ctx)
		if err != nil {
			return Span{}, fmt.Errorf("read block %d of %q: %w", first+int64(i), key, err)
		}
		s.blocks[i] = b
	}
	return s, nil
}

// join returns a flight for every block that is nil, and starts those that are
// not under way.
func (c *Cache) join(key string, size, first int64, blocks []*Block) []*flight[*Block] {
	flights := make([]*flight[*Block], len(blocks))
	var runs []run
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range blocks {
		if blocks[i] != nil {
			continue
		}
		number := first + int64(i)
		id := blockKey(key, number)
		if f := c.mu.blocks[id]; f != nil {
			flights[i] = f
			continue
		}
		// A flight that has ended since the look-up above has left its block.
		if b, ok := c.blocks.Get(id); ok {
			blocks[i] = b
			continue
		}
		f := newFlight[*Block]()
		flights[i], c.mu.blocks[id] = f, f
		if n := len(runs); n > 0 && runs[n-1].first+int64(len(runs[n-1].flights)) == number &&
			int64(len(runs[n-1].flights)) < c.maxBlocks {
			runs[n-1].flights = append(runs[n-1].flights, f)
		} else {
			runs = append(runs, run{first: number, flights: []*flight[*Block]{f}})
		}
	}
	for _, r := range runs {
		c.users.Go(func() { c.loadRun(key, size, r) })
	}
	return flights
}

// loadRun reads a run and lands its flights. Flights that failed leave the table
// before they land, so that nobody is given an old error; the others after the
// cache has taken their blocks in, so that nobody finds neither.
func (c *Cache) loadRun(key string, size int64, r run) {
	off := r.first * c.blockSize
	n := min(int64(len(r.flights))*c.blockSize, size-off)
	var data []byte
	err := c.load(func(ctx context.Context) (err error) {
		data, err = c.store.GetRange(ctx, key, off, n)
		return err
	})
	if err == nil && int64(len(data)) != n {
		err = fmt.Errorf("store returned %d bytes, not %d: %w", len(data), n, objstore.ErrRange)
	}
	if err != nil {
		c.leave(key, r)
		for _, f := range r.flights {
			f.land(nil, err)
		}
		return
	}
	for i, f := range r.flights {
		b := data[int64(i)*c.blockSize:]
		b = b[:min(int64(len(b)), c.blockSize)]
		if len(r.flights) > 1 {
			b = bytes.Clone(b) // else one block kept would keep the memory of them all
		}
		block := NewBlock(b)
		c.blocks.Set(blockKey(key, r.first+int64(i)), block, int64(len(b)))
		f.land(block, nil) // after Set: who gets damaged bytes calls Forget next
	}
	c.blocks.Wait()
	c.leave(key, r)
}

// leave takes the flights of a run out of the table, unless Forget has.
func (c *Cache) leave(key string, r run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range r.flights {
		if id := blockKey(key, r.first+int64(i)); c.mu.blocks[id] == f {
			delete(c.mu.blocks, id)
		}
	}
}

// Forget drops the blocks that hold n bytes from offset off of the object at
// key, because they were found damaged: the next reader gets them from the store
// again.
func (c *Cache) Forget(key string, off, n int64) {
	if c.enter() != nil {
		return
	}
	defer c.users.Done()
	for number := off / c.blockSize; number*c.blockSize < off+n; number++ {
		id := blockKey(key, number)
		c.mu.Lock()
		delete(c.mu.blocks, id)
		c.mu.Unlock()
		c.blocks.Del(id)
	}
	c.blocks.Wait() // a Set before the Del may be on its way still
}

func blockKey(key string, number int64) string {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(number))
	return key + string(n[:])
}
