package restore

import (
	"context"
	"slices"
	"sync"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

const (
	// keptBytes bounds the index objects that a PageReader keeps, and keptNames those that it
	// remembers.
	keptBytes = 32 << 20
	keptNames = 64
)

// PageReader reads index pages of extents. An index object has pages of many partitions next
// to each other, and a look at a journal reads one page of each. So the second page of an
// object is read with all others, which are kept for a while. It may be used by many
// goroutines.
type PageReader struct {
	store objstore.Store

	mu    sync.Mutex
	kept  []indexObject // the one used last at the end
	bytes int64
}

// indexObject is an index object of which a page was read.
type indexObject struct {
	name  segment.IndexName
	bytes []byte // nil: it was not read as a whole
}

// NewPageReader returns a PageReader that keeps nothing yet.
func NewPageReader(store objstore.Store) *PageReader { return &PageReader{store: store} }

// Page reads a page as the function Page does.
func (r *PageReader) Page(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	b, at := r.object(ctx, p), segment.BlobHeaderSize+int64(p.Position)
	if at+int64(p.Length) <= int64(len(b)) {
		if found, err := partlog.DecodePage(p, b[at:][:p.Length]); err == nil {
			return found, nil
		}
	}
	return Page(ctx, r.store, p) // which reads damage again, and the copy
}

// object returns the index object of a page if more of it is read than this page, or nil.
func (r *PageReader) object(ctx context.Context, p *partlog.Page) []byte {
	k, again := r.use(p.IndexName)
	if !again || k.bytes != nil || segment.BlobHeaderSize+int64(p.Size) > keptBytes/4 {
		return k.bytes
	}
	b, err := r.store.Get(ctx, p.IndexName.Key())
	if err != nil {
		return nil // the caller reads the page alone, or its copy
	}
	r.keep(indexObject{p.IndexName, b})
	return b
}

// use notes that a page of an object is read, and reports whether another one was before.
func (r *PageReader) use(name segment.IndexName) (k indexObject, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.name = name
	if i := slices.IndexFunc(r.kept, func(k indexObject) bool { return k.name == name }); i >= 0 {
		k, again = r.kept[i], true
		r.kept = slices.Delete(r.kept, i, i+1)
	}
	r.kept = append(r.kept, k)
	r.trimLocked()
	return k, again
}

func (r *PageReader) keep(k indexObject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.kept, func(x indexObject) bool { return x.name == k.name }); i >= 0 {
		r.bytes -= int64(len(r.kept[i].bytes))
		r.kept = slices.Delete(r.kept, i, i+1)
	}
	r.kept = append(r.kept, k)
	r.bytes += int64(len(k.bytes))
	r.trimLocked()
}

func (r *PageReader) trimLocked() {
	for r.bytes > keptBytes || len(r.kept) > keptNames {
		r.bytes -= int64(len(r.kept[0].bytes))
		r.kept = slices.Delete(r.kept, 0, 1)
	}
}
