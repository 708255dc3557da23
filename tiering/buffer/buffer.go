package buffer

import (
	"fmt"
	"sync/atomic"
)

// Buffer is memory with a number of holders. Each holder has one reference; the memory
// goes back to its pool with the last one. Retain and Release are safe for concurrent
// use. Bytes that another holder may read must not be written.
//
// A nil Buffer stands for memory of the garbage collector: Retain and Release do nothing.
//
// Buffers themselves are not used again, so a holder that releases too often cannot harm
// the next holder of the memory.
type Buffer struct {
	pool  *Pool
	class int // of memory; -1: not for the pool
	data  []byte
	refs  atomic.Int64
}

// Bytes returns the bytes, exactly as many as Get was asked for, while the caller holds a
// reference.
func (b *Buffer) Bytes() []byte {
	if b.refs.Load() <= 0 {
		panic("bytes of a buffer that was released")
	}
	return b.data
}

// Retain adds a reference, for a new holder, and returns the buffer. The caller holds
// one.
func (b *Buffer) Retain() *Buffer {
	if b != nil && b.refs.Add(1) <= 1 {
		panic("retain a buffer that was released")
	}
	return b
}

// Release ends the reference of a holder, which must not read the bytes any more. It
// panics if there is none left to end.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	switch left := b.refs.Add(-1); {
	case left > 0:
		return
	case left < 0:
		panic(fmt.Sprintf("buffer of %d bytes released once too often", len(b.data)))
	}
	memory := b.data[:cap(b.data)]
	poison(memory)
	b.data = nil
	if b.pool != nil {
		b.pool.put(b.class, memory)
	}
}
