package partlog

import (
	"errors"
	"fmt"
)

// ErrBehind: a page is gone, and the state that names it is older than the one that is asked
// for its extents. The page may have been replaced since.
var ErrBehind = errors.New("the state that names the index page is behind")

// ErrNotHere: a state does not have the extents of a page, or names the same page.
var ErrNotHere = errors.New("another state does not have the extents of an index page")

// PageOf returns the extents of a page that another state of the journal names, as s has
// them: in other pages, which read reads, or in memory. s must be of a head between that
// of the page and that of the other state. Then both have the same extents, because those
// of the page were there before s, and are there after it. Those below the start, which s
// may have dropped, are left out; so are merged ones that s has freed.
func (s *State) PageOf(p *Page, read func(*Page) (*PageExtents, error)) (*PageExtents, error) {
	switch head := s.Head(); {
	case p.Seq > head:
		return nil, fmt.Errorf("%w: it is at seq %d, %s is newer", ErrNotHere, head, p.ObjectKey())
	case p.Head < head:
		return nil, ErrBehind
	}
	x := &PageExtents{in: home{Key: p.Key, journal: p.Journal}, merged: p.Merged}
	first := s.firstOf(p)
	for offset := first; offset <= p.Last; offset = x.list[len(x.list)-1].Last + 1 {
		extents, page := s.named(p, offset)
		if page != nil && page.Object == p.Object {
			return nil, fmt.Errorf("%w: it names %s, too", ErrNotHere, p.ObjectKey())
		}
		if page != nil {
			found, err := read(page)
			if err != nil {
				return nil, err
			}
			extents = found.From(offset, chunkRefs)
		}
		if len(extents) == 0 || extents[0].Last < offset {
			return nil, fmt.Errorf("%w: there is none at offset %d of %s-%d", ErrNotHere, offset, p.Topic, p.Index)
		}
		x.list = append(x.list, extents...)
	}
	return x, x.cutTo(p, first)
}

// firstOf returns the first offset of a page of which s must have the extent.
func (s *State) firstOf(p *Page) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	q, ok := s.parts[p.Key]
	switch {
	case !ok:
		return p.First()
	case p.Merged:
		return max(p.First(), q.freed)
	}
	return max(p.First(), q.start, q.merged)
}

// named returns extents of the kind that a page has, from the one that holds offset on, or
// the page that has them. Deleted records count, too.
func (s *State) named(p *Page, offset int64) ([]Extent, *Page) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	q, ok := s.parts[p.Key]
	switch {
	case !ok:
		return nil, nil
	case p.Merged:
		return q.below.from(s.home(p.Key, q), offset, chunkRefs)
	}
	return q.refs.from(s.home(p.Key, q), offset, chunkRefs)
}

// cutTo leaves the extents of a page from an offset on. The error is segment.ErrCorrupt if
// they cannot be its own.
func (x *PageExtents) cutTo(p *Page, first int64) error {
	x.cut(first, p.Last)
	n := len(x.list)
	if n == 0 || x.list[0].Base > first || x.list[n-1].Last != p.Last {
		return p.corrupt("another state has other extents at offsets %d to %d", first, p.Last)
	}
	for i := range x.list {
		if e := &x.list[i]; e.merged() != p.Merged || i > 0 && e.Base != x.list[i-1].Last+1 {
			return p.corrupt("another state has offsets %d to %d in another extent", e.Base, e.Last)
		}
	}
	return nil
}
