package cache

import (
	"slices"
	"sort"
	"sync"
)

// Block is bytes of an object in memory, and which of them its readers have found to be
// sound. The bytes must not be changed.
type Block struct {
	data []byte

	mu    sync.Mutex
	sound []stretch // in increasing order, none touches another
}

// stretch is a range of a block's bytes.
type stretch struct{ from, to int64 }

// maxStretches bounds the stretches of a block. Readers of a partition check bytes one
// after the other, so a block has about one stretch for each partition in it.
const maxStretches = 256

// NewBlock returns the block of data, which belongs to the block afterwards.
func NewBlock(data []byte) *Block { return &Block{data: data} }

// Bytes returns the bytes of the block.
func (b *Block) Bytes() []byte { return b.data }

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
