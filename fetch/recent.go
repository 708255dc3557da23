package fetch

import (
	"sync"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/buffer"
	"github.com/varvelog/varve/tiering/segment"
)

// Recent is a Tail of the objects that were added last, up to a number of bytes.
// It is safe for concurrent use.
type Recent struct {
	journal uint32
	limit   int64

	mu      sync.RWMutex
	bytes   int64
	objects map[segment.Name]*cache.Block // with a reference to each
	order   []segment.Name                // as they were added
}

// NewRecent returns an empty Recent that keeps up to limit bytes of a journal's
// objects.
func NewRecent(journal uint32, limit int64) *Recent {
	return &Recent{journal: journal, limit: limit, objects: make(map[segment.Name]*cache.Block)}
}

// Add keeps the journal's object at a seq, which must not be changed any more, and
// drops the oldest ones to make room. It retains the objects that it keeps. An object
// above the limit is not kept.
func (r *Recent) Add(seq uint64, object *buffer.Buffer) {
	name, size := segment.DataObject(r.journal, seq), int64(len(object.Bytes()))
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.objects[name]; ok || size > r.limit {
		return
	}
	for r.bytes+size > r.limit {
		r.dropOldest()
	}
	r.bytes += size
	r.objects[name] = cache.NewBlock(object.Bytes(), object.Retain())
	r.order = append(r.order, name)
}

func (r *Recent) dropOldest() {
	oldest := r.order[0]
	r.order = r.order[1:]
	b := r.objects[oldest]
	delete(r.objects, oldest)
	r.bytes -= int64(len(b.Bytes()))
	b.Release()
}

// Object implements Tail.
func (r *Recent) Object(name segment.Name) (*cache.Block, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	b, ok := r.objects[name]
	if ok {
		b.Retain()
	}
	return b, ok
}
