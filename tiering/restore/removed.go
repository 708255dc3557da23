package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/varvelog/varve/tiering/journal"
	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
)

// Removed reads pages of extents that leaders removed, because no floor keeps them. A node
// may hold these for as long as it likes. The checkpoint of the newest floor has the same
// extents, in pages that are kept or in itself (tiering/journal/PROTOCOL.md, rule 23). It is
// safe for concurrent use, and keeps the state of one checkpoint a journal in memory.
type Removed struct {
	store objstore.Store
	base  func(journal uint32) journal.Chain

	found atomic.Int64 // pages

	mu     sync.Mutex
	floors map[uint32]*newestFloor
}

type newestFloor struct {
	mu     sync.Mutex
	newest *journal.NewestFloor
	state  *partlog.State // nil if there is no floor
}

// NewRemoved returns a Removed. base returns where the reading of a journal begins.
func NewRemoved(store objstore.Store, base func(journal uint32) journal.Chain) *Removed {
	return &Removed{store: store, base: base, floors: map[uint32]*newestFloor{}}
}

// Read reads a page by read, which reads it as the function Page does, and as Removed.Page
// does if that is gone. Without read it is that function.
func (r *Removed) Read(ctx context.Context, p *partlog.Page, read func(context.Context, *partlog.Page) (*partlog.PageExtents, error)) (*partlog.PageExtents, error) {
	if read == nil {
		read = func(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) { return Page(ctx, r.store, p) }
	}
	found, err := read(ctx, p)
	if p.Seq == 0 || !lost.Is(err) {
		return found, err
	}
	found, again := r.Page(ctx, p)
	switch {
	case again == nil:
		return found, nil
	case final(again):
		return nil, errors.Join(err, again)
	}
	return nil, fmt.Errorf("%w; %v", again, err) // asked again, the store may have it
}

// final reports whether the newest floor is of no help, whatever its store answers later.
func final(err error) bool {
	return lost.Unreadable(err) || errors.Is(err, partlog.ErrNotHere) || errors.Is(err, partlog.ErrBehind)
}

// Found returns how often the extents of a lost page were found.
func (r *Removed) Found() int64 { return r.found.Load() }

// Page returns the extents of a page whose copies are lost, as the newest floor's checkpoint
// has them: the errors are also those of partlog.State.PageOf. After partlog.ErrBehind look
// up again at a head that is proved now.
func (r *Removed) Page(ctx context.Context, p *partlog.Page) (*partlog.PageExtents, error) {
	state, err := r.state(ctx, p.Journal)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint of the newest floor of journal %d: %w", p.Journal, err)
	}
	if state == nil {
		return nil, partlog.ErrNotHere
	}
	extents, err := state.PageOf(p, func(q *partlog.Page) (*partlog.PageExtents, error) { return Page(ctx, r.store, q) })
	if err == nil {
		r.found.Add(1)
	}
	return extents, err
}

// state returns that of the newest floor's checkpoint.
func (r *Removed) state(ctx context.Context, id uint32) (*partlog.State, error) {
	r.mu.Lock()
	f := r.floors[id]
	if f == nil {
		f = &newestFloor{newest: journal.NewNewestFloor(r.store, r.base(id))}
		r.floors[id] = f
	}
	r.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.newest.Look(ctx, func(c *journal.Checkpoint) (err error) {
		f.state, err = partlog.DecodeExtents(id, c.State)
		return err
	})
	return f.state, err
}
