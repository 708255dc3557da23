package cache

import (
	"context"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// index is a decoded footer, or a decoded section. It must not be changed.
type index interface {
	memory() int64 // estimates the bytes that it takes
}

// cached returns the index with a name if it is in memory.
func cached[V index](c *Cache, name string) (got V, ok bool) {
	if c.enter() != nil {
		return got, false
	}
	defer c.users.Done()
	v, ok := c.indexes.Get(name)
	if !ok {
		return got, false
	}
	return v.(V), true
}

// indexOf returns the index with a name, which load reads once for all callers. inMemory
// says that load does no I/O: then it is called without a wait.
func indexOf[V index](ctx context.Context, c *Cache, name string, load func(context.Context) (V, error), inMemory bool) (got V, err error) {
	if err := c.enter(); err != nil {
		return got, err
	}
	defer c.users.Done()
	if inMemory {
		if got, err = load(ctx); err == nil {
			c.indexes.Set(name, got, got.memory())
		}
		return got, err
	}
	v, err := c.joinIndex(name, func() (v index, err error) {
		err = c.load(func(ctx context.Context) (err error) {
			v, err = load(ctx)
			return err
		})
		return v, err
	}).wait(ctx)
	if err != nil {
		return got, err
	}
	return v.(V), nil
}

func (c *Cache) joinIndex(name string, load func() (index, error)) *flight[index] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.mu.indexes[name]; f != nil {
		return f
	}
	f := newFlight[index]()
	// A flight that ended after the caller's look-up has left its index.
	if v, ok := c.indexes.Get(name); ok {
		f.land(v, nil)
		return f
	}
	c.mu.indexes[name] = f
	c.users.Go(func() { c.loadIndex(name, f, load) })
	return f
}

// loadIndex reads an index and lands its flight. The flight leaves the table as flights of
// blocks do.
func (c *Cache) loadIndex(name string, f *flight[index], load func() (index, error)) {
	v, err := load()
	if err != nil {
		c.leaveIndex(name)
		f.land(nil, err)
		return
	}
	f.land(v, nil)
	c.indexes.Set(name, v, v.memory())
	c.indexes.Wait()
	c.leaveIndex(name)
}

func (c *Cache) leaveIndex(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.indexes, name)
}

// section is the section of a partition in a merged segment.
type section struct{ *segment.MergedPartition }

func (s section) memory() int64 {
	return int64(unsafe.Sizeof(*s.MergedPartition)) + int64(len(s.TopicName)) +
		int64(len(s.Blocks))*int64(unsafe.Sizeof(segment.Block{})) +
		int64(len(s.Epochs))*int64(unsafe.Sizeof(batch.EpochStart{})) +
		int64(len(s.AbortedTxns))*int64(unsafe.Sizeof(segment.AbortedTxn{}))
}

// Section returns the section at a range of a merged segment, which check has accepted. It
// is read once for all callers, as a footer is.
func (c *Cache) Section(ctx context.Context, at Range, check func(*segment.MergedPartition) error) (*segment.MergedPartition, error) {
	name := sectionName(at)
	if s, ok := cached[section](c, name); ok {
		return s.MergedPartition, nil
	}
	s, err := indexOf(ctx, c, name, func(ctx context.Context) (section, error) {
		b, err := c.getRange(ctx, nil, at.Object, at.Pos, at.Len)
		if err != nil {
			return section{}, err
		}
		p, err := segment.DecodeMergedPartition(b.Bytes())
		if err != nil {
			return section{}, err
		}
		return section{p}, check(p)
	}, false)
	if err != nil {
		return nil, fmt.Errorf("read section at %d of %q: %w", at.Pos, at.Object, err)
	}
	return s.MergedPartition, nil
}

func sectionName(at Range) string { return at.Object + "@" + strconv.FormatInt(at.Pos, 10) }

// MadeSection returns the section that belongs at a range, which build makes once for all
// callers from other bytes of the object. read is one GET. It takes as long as it takes:
// when ctx ends, it goes on for the next caller.
func (c *Cache) MadeSection(ctx context.Context, at Range, build func(read func(pos, n int64) ([]byte, error)) (*segment.MergedPartition, error)) (*segment.MergedPartition, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.users.Done()
	v, err := c.joinIndex(sectionName(at), func() (index, error) {
		p, err := build(func(pos, n int64) (b []byte, err error) {
			err = c.load(func(ctx context.Context) error {
				memory, err := c.getRange(ctx, nil, at.Object, pos, n)
				if err == nil {
					b = memory.Bytes()
				}
				return err
			})
			return b, err
		})
		return section{p}, err
	}).wait(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the section at %d of %q: %w", at.Pos, at.Object, err)
	}
	return v.(section).MergedPartition, nil
}
