package fetch

import (
	"sync"

	"github.com/varvelog/varve/fetch/cache"
)

// Recent is a Tail: the objects that were added last, up to a number of bytes.
// It is safe for concurrent use.
type Recent struct {
	limit int64

	mu      sync.RWMutex
	bytes   int64
	objects map[uint64]*cache.Block
	order   []uint64 // seqs, as they were added
}

// NewRecent returns an empty Recent that keeps up to limit bytes.
func NewRecent(limit int64) *Recent {
	return &Recent{limit: limit, objects: make(map[uint64]*cache.Block)}
}

// Add keeps an object, which must not be changed any more, and lets the oldest
// ones go to make room. An object above the limit is not kept.
func (r *Recent) Add(seq uint64, object []byte) {
	size := int64(len(object))
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.objects[seq]; ok || size > r.limit {
		return
	}
	for r.bytes+size > r.limit {
		oldest := r.order[0]
		r.order = r.order[1:]
		r.bytes -= int64(len(r.objects[oldest].Bytes()))
		delete(r.objects, oldest)
	}
	r.bytes += size
	r.objects[seq] = cache.NewBlock(object)
	r.order = append(r.order, seq)
}

// Object implements Tail.
func (r *Recent) Object(seq uint64) (*cache.Block, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	b, ok := r.objects[seq]
	return b, ok
}
