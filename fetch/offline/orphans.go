package offline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/varvelog/varve/tiering/objstore"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/restore"
	"github.com/varvelog/varve/tiering/segment"
)

// OrphanAge is how old an object must be before it counts as an orphan.
const OrphanAge = 24 * time.Hour

// Orphan is a merged segment that no journal knows.
type Orphan struct {
	Key      string
	Size     int64
	Modified time.Time // by the store's clock
}

// Orphans returns the merged segments that no journal knows, in the order of their keys.
// A journal names an object before it is created, and until it is deleted twice. So the
// bucket is listed first, and all heads are proved after that. An error means that a
// journal, or an index page, could not be read: then nothing is known.
//
// An object that is younger than OrphanAge at now is left out. It is an error if the
// store's clock is far from now, or if a journal has a hole.
func (b *Bucket) Orphans(ctx context.Context, now time.Time, onListed func(int64)) ([]Orphan, error) {
	found := map[segment.ID]Orphan{}
	var listed int64
	for _, prefix := range []string{segment.SharedPrefix, segment.TopicsPrefix} {
		err := b.store.List(ctx, prefix, "", func(i objstore.Info) error {
			listed++
			onListed(listed)
			if name, ok := segment.ParseMergedKey(i.Key); ok && now.Sub(i.Modified) >= OrphanAge {
				found[name.Object] = Orphan{Key: i.Key, Size: i.Size, Modified: i.Modified}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list %q of bucket %s: %w", prefix, b.store, err)
		}
	}
	if err := again(ctx, func() error { return b.proveWhole(ctx) }); err != nil {
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
	orphans := make([]Orphan, 0, len(found))
	for _, o := range found {
		orphans = append(orphans, o)
	}
	slices.SortFunc(orphans, func(a, b Orphan) int { return strings.Compare(a.Key, b.Key) })
	return orphans, nil
}

// proveWhole is Prove, and fails if a journal has objects above its head. A reader takes a
// hole in a journal for the end of it. To its state all is unknown that was named above.
func (b *Bucket) proveWhole(ctx context.Context) error {
	ids := append([]uint32{0}, b.Topics.Journals()...)
	listed := make([]uint64, len(ids))
	for i, id := range ids {
		var err error
		if listed[i], err = b.lastListed(ctx, id); err != nil {
			return err
		}
	}
	if err := b.Prove(ctx); err != nil {
		return err
	}
	for i, id := range ids {
		if head := b.head(id); head < listed[i] {
			return fmt.Errorf("journal %d ends at seq %d, and the bucket has an object at seq %d: one between them is missing, or is being written", id, head, listed[i])
		}
	}
	return nil
}

func (b *Bucket) head(id uint32) uint64 {
	if id == 0 {
		return b.Topics.Head()
	}
	if state := b.State(id); state != nil {
		return state.Head()
	}
	return 0
}

// errListed ends a listing.
var errListed = errors.New("listed")

// lastListed returns the greatest seq that a listing of a journal shows from its head on.
func (b *Bucket) lastListed(ctx context.Context, id uint32) (last uint64, err error) {
	prefix := segment.JournalPrefix(id)
	err = b.store.List(ctx, prefix, segment.JournalKey(id, b.head(id)), func(i objstore.Info) error {
		if seq, ok := segment.ParseJournalKey(id, i.Key); ok {
			last = max(last, seq)
		}
		if name := strings.TrimPrefix(i.Key, prefix); name > ":" { // seqs come before all other keys
			return errListed
		}
		return nil
	})
	if err != nil && !errors.Is(err, errListed) {
		return 0, fmt.Errorf("list journal %d of bucket %s: %w", id, b.store, err)
	}
	return last, nil
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
		var found *partlog.PageExtents
		err := again(ctx, func() (err error) {
			found, err = restore.Page(ctx, b.store, p)
			return err
		})
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
