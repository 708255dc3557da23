package cache

import (
	"slices"
	"sort"
	"sync"
)

// Block is bytes of an object that are in memory, and which of them its readers
// have found to be what they should be. The bytes must not be changed.
type Block struct {
	data []byte

	mu    sync.Mutex
	sound []stretch // in increasing order, none touches another
}

// stretch is a range of a block's bytes.
type stretch struct{ from, to int64 }

// maxStretches bounds what a block remembers. Readers of a partition find bytes
// side by side, so that a block has about one stretch for each partition in it.
const maxStretches = 256

// NewBlock returns the block of these bytes, which belong to it afterwards.
func NewBlock(data []byte) *Block { return &Block{data: data} }

// Bytes are the bytes of the block.
func (b *Block) Bytes() []byte { return b.data }

// soundFrom is the end of the stretch of sound bytes that holds position at, or
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
