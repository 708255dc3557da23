// Package buffer is memory that is used again: bounded pools of byte buffers that are
// counted by reference.
//
// It owns the memory of a Buffer from its last Release to the next Get, and no other. It
// promises that no memory is in two buffers, and that a pool keeps at most its limit of
// free bytes. A Buffer that is forgotten is no leak: the garbage collector takes it. It
// never clears memory, never waits for some, and starts nothing.
//
// The free lists are the package's own. A sync.Pool would empty at each second garbage
// collection, thus just under load, and nothing bounds it. So memory of a peak shrinks by
// Trim, which the owner of a pool calls now and then.
//
// With the build tag poison, memory is overwritten at the last Release. A reader that
// holds no reference then finds a wrong CRC, or the race detector finds the reader.
package buffer

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// smallest is the size of the smallest class. Less is left to the garbage
	// collector, which does as well.
	smallest = 512
	// steps is the number of classes from one power of two to the next, so that a
	// buffer wastes less than a ninth of its memory.
	steps = 8
	// classes end at 128 MiB, above each object and each frame.
	classes = 18*steps + 1
)

// Pool keeps free memory by size classes. It is safe for concurrent use. A nil Pool
// keeps nothing.
type Pool struct {
	limit int64
	inUse atomic.Int64

	mu struct {
		sync.Mutex
		free  int64 // bytes in the lists, at most limit
		lists [classes]list
		clock uint64 // counts calls of Get
	}
}

// list is the free memory of a class.
type list struct {
	free   [][]byte
	spare  int    // the fewest that were free at a time since the last Trim
	lastAt uint64 // the clock when one was last wanted
}

// NewPool returns an empty pool that keeps up to limit free bytes.
func NewPool(limit int64) *Pool { return &Pool{limit: limit} }

// Get returns a buffer of n bytes with one reference, which belongs to the caller. Its
// contents are arbitrary. From 32 KiB on it begins at a page, as direct writes need it.
func (p *Pool) Get(n int) *Buffer {
	class, size := classOf(n)
	if p == nil {
		class, size = -1, n
	}
	memory := p.take(class)
	if memory == nil {
		memory = make([]byte, size)
	}
	if p != nil {
		p.inUse.Add(int64(size))
	}
	b := &Buffer{pool: p, class: class, data: memory[:n]}
	b.refs.Store(1)
	return b
}

// take returns free memory of a class, or nil.
func (p *Pool) take(class int) []byte {
	if class < 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.mu.lists[class]
	p.mu.clock++
	l.lastAt = p.mu.clock
	if len(l.free) == 0 {
		l.spare = 0
		return nil
	}
	return p.popLocked(l)
}

func (p *Pool) popLocked(l *list) []byte {
	last := len(l.free) - 1
	memory := l.free[last]
	l.free[last] = nil
	l.free = l.free[:last]
	l.spare = min(l.spare, last)
	p.mu.free -= int64(cap(memory))
	return memory
}

// put takes memory back. Where there is no room, classes that are wanted more rarely
// make some.
func (p *Pool) put(class int, memory []byte) {
	p.inUse.Add(-int64(cap(memory)))
	size := int64(cap(memory))
	if class < 0 || size > p.limit {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.mu.lists[class]
	for p.mu.free+size > p.limit {
		coldest := p.coldestLocked()
		if coldest.lastAt >= l.lastAt {
			return
		}
		p.popLocked(coldest)
	}
	l.free = append(l.free, memory)
	p.mu.free += size
}

// coldestLocked returns the list with memory that was wanted least recently.
func (p *Pool) coldestLocked() *list {
	var coldest *list
	for i := range p.mu.lists {
		l := &p.mu.lists[i]
		if len(l.free) > 0 && (coldest == nil || l.lastAt < coldest.lastAt) {
			coldest = l
		}
	}
	return coldest
}

// Trim gives up half of the memory that no caller has wanted since the last Trim. Called
// every few seconds, it keeps as much as the load needs, and after a pause all goes.
func (p *Pool) Trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.mu.lists {
		l := &p.mu.lists[i]
		for range (l.spare + 1) / 2 {
			p.popLocked(l)
		}
		l.spare = len(l.free)
	}
}

// Free returns the bytes that are kept for the next Get.
func (p *Pool) Free() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.free
}

// InUse returns the bytes in buffers that have references. Buffers that were forgotten
// count too.
func (p *Pool) InUse() int64 { return p.inUse.Load() }

// classOf returns the class for n bytes and the size of its memory; -1 and n for a size
// that has no class.
func classOf(n int) (class, size int) {
	if n < smallest {
		return -1, n
	}
	if n == smallest {
		return 0, n
	}
	// n lies above base, a power of two, and up to twice base.
	base := 1 << (bits.Len(uint(n-1)) - 1)
	step := base / steps
	over := (n - base + step - 1) / step // 1 to steps
	class = (bits.Len(uint(base))-bits.Len(smallest))*steps + over
	if class >= classes {
		return -1, n
	}
	return class, base + over*step
}
