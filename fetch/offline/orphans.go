package offline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// OrphanAge is how old an object must be before it counts as an orphan.
const OrphanAge = 24 * time.Hour

// Orphan is a merged segment that no journal knows.
type Orphan struct {
	Key      string
	Size     int64
	Modified time.Time // by the store's clock
	// Needed is why the object must stay; empty: its records are elsewhere, or deleted.
	Needed string
}

// Orphans returns the merged segments that no journal knows, in the order of their keys.
// A journal names an object before it is created, and until it is deleted twice. So the
// bucket is listed first, and all heads are proved after that. An error means that a
// journal, or an index page, could not be read: then nothing is known.
//
// An object that is younger than OrphanAge at now is left out. It is an error if the
// store's clock is far from now, or if a journal has a hole or lacks its end.
func (b *Bucket) Orphans(ctx context.Context, now time.Time, onListed func(int64)) ([]Orphan, error) {
	found := map[segment.ID]Orphan{}
	seen := &evidence{own: map[partlog.Key]segment.Name{}}
	var listed int64
	err := b.listMerged(ctx, func(i objstore.Info, name segment.Name) {
		listed++
		onListed(listed)
		seen.add(name)
		if now.Sub(i.Modified) >= OrphanAge {
			found[name.Object] = Orphan{Key: i.Key, Size: i.Size, Modified: i.Modified}
		}
	})
	if err != nil {
		return nil, err
	}
	if err := again(ctx, func() error { return b.prove(ctx, seen, true) }); err != nil {
		return nil, err
	}
	if clock, ok := b.store.(objstore.Clock); ok {
		if at, n := clock.StoreTime(); n > 0 && at.Sub(now).Abs() > clocksApart {
			return nil, fmt.Errorf("the clock of this machine and that of the store are %v apart: set it first", at.Sub(now).Abs().Round(time.Second))
		}
	}
	for _, id := range b.Topics.Journals() {
		if err := b.Known(ctx, id, func(name segment.Name) { delete(found, name.Object) }); err != nil {
			return nil, err
		}
	}
	orphans := slices.SortedFunc(maps.Values(found), func(a, b Orphan) int { return strings.Compare(a.Key, b.Key) })
	for i := range orphans {
		if err := b.needs(ctx, &orphans[i]); err != nil {
			return nil, err
		}
	}
	return orphans, nil
}

// clocksApart is how far clocks may be apart.
const clocksApart = 5 * time.Minute

// Known calls fn with each merged segment that the state of a data journal names: in
// extents, in intents, and among the objects that may be deleted.
func (b *Bucket) Known(ctx context.Context, id uint32, fn func(segment.Name)) error {
	state := b.State(id)
	if state == nil {
		return fmt.Errorf("journal %d is not read", id)
	}
	for _, in := range state.Intents() {
		for _, o := range in.Objects {
			fn(o.Name)
		}
	}
	for _, u := range state.Unreleased() {
		fn(u.Name)
	}
	for _, g := range state.Garbage() {
		if g.Name != (segment.Name{}) {
			fn(g.Name)
		}
	}
	return b.Segments(ctx, id, func(e *partlog.Extent) { fn(e.Object) })
}

// Segments calls fn with each extent of a data journal that lies in a merged segment, also
// if its records are deleted and no leader has released it yet.
func (b *Bucket) Segments(ctx context.Context, id uint32, fn func(*partlog.Extent)) error {
	var pages []*partlog.Page
	b.State(id).Survey(func(s *partlog.Survey) {
		for i := range s.Segments {
			if s.Segments[i].Object.Kind == segment.KindMerged {
				fn(&s.Segments[i])
			}
		}
		pages = append(pages, s.Pages...)
	})
	for _, p := range pages {
		found, err := b.readPage(ctx, p)
		if err != nil {
			return err
		}
		extents := found.From(p.Base, maxPageExtents)
		for i := range extents {
			fn(&extents[i])
		}
	}
	return nil
}

// maxPageExtents is more than a page can have.
const maxPageExtents = 1024
