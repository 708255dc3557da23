package cache

import (
	"slices"
	"sort"
	"sync"

	"github.com/varvelog/varve/tiering/buffer"
)

// Block is bytes of an object in memory, and which of them its readers have found to be
// sound. The bytes must not be changed, and not be read by a caller that holds no
// reference.
type Block struct {
	data   []byte
	memory *buffer.Buffer // that data lies in; nil: memory of the garbage collector

	mu    sync.Mutex
	sound []stretch // in increasing order, none touches another
}

// stretch is a range of a block's bytes.
type stretch struct{ from, to int64 }

// maxStretches bounds the stretches of a block. Readers of a partition check bytes one
// after the other, so a block has about one stretch for each partition in it.
const maxStretches = 256

// NewBlock returns the block of data, which must not be changed afterwards. The data lies
// in memory; nil stands for memory of the garbage collector. The block takes no reference
// of its own.
func NewBlock(data []byte, memory *buffer.Buffer) *Block { return &Block{data: data, memory: memory} }

// Bytes returns the bytes of the block.
func (b *Block) Bytes() []byte { return b.data }

// Retain adds a reference to the block's memory. The caller holds one, or keeps the owner
// of the memory from releasing it.
func (b *Block) Retain() { b.memory.Retain() }

// Release ends a reference.
func (b *Block) Release() { b.memory.Release() }

// Memory returns the size of the memory that a reference to the block keeps, and an
// identity of it. Blocks in the same memory have the same one.
func (b *Block) Memory() (id any, bytes int64) {
	if b.memory != nil {
		return b.memory, int64(len(b.memory.Bytes()))
	}
	return b, int64(len(b.data))
}

// soundFrom returns the end of the stretch of sound bytes that holds position at, or
// at if there is none.
func (b *Block) soundFrom(at int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := sort.Search(len(b.sound), func(i int) bool { return b.sound[i].to > at })
	if i == len(b.sound) || b.sound[i].from > at {
		return at
	}
	return b.sound[i].to
}

// mark makes a stretch of bytes sound.
func (b *Block) mark(s stretch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := sort.Search(len(b.sound), func(i int) bool { return b.sound[i].to >= s.from })
	end := i
	for ; end < len(b.sound) && b.sound[end].from <= s.to; end++ {
		s.from, s.to = min(s.from, b.sound[end].from), max(s.to, b.sound[end].to)
	}
	if end > i || len(b.sound) < maxStretches {
		b.sound = slices.Replace(b.sound, i, end, s)
	}
}
