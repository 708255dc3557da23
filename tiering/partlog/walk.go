package partlog

import (
	"context"
	"fmt"
	"iter"
)

// FindFrom is Find from an offset on, or from the start if that is above the offset. So it
// finds nothing only at the end of the log: the start may move at any time between two
// look-ups. In a page search from the greater of the offset and View.Start on.
func (s *State) FindFrom(k Key, offset int64, max int) ([]Extent, *Page, View, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p, ok := s.parts[k]
	if !ok {
		return nil, nil, View{}, false
	}
	if offset < p.start {
		offset = p.start
	}
	v := s.viewLocked(p)
	if offset >= v.End {
		return nil, nil, v, true
	}
	extents, page := p.find(s.home(k, p), offset, max)
	return extents, page, v, true
}

// ReadPage reads an index page.
type ReadPage func(context.Context, *Page) (*PageExtents, error)

// PageError is an index page that could not be read.
type PageError struct {
	Page *Page
	Err  error
}

func (e *PageError) Error() string {
	return fmt.Sprintf("index page of offsets %d to %d of %s-%d: %v", e.Page.Base, e.Page.Last, e.Page.Topic, e.Page.Index, e.Err)
}

// Unwrap returns the reason.
func (e *PageError) Unwrap() error { return e.Err }

// walked is how many extents Walk looks up at once.
const walked = 256

// Walk yields the extents of a partition in offset order, from the one that holds an offset
// on, or from the start if that is above. It ends where the log ends by then. Extents that
// are not in memory are read with read; without it they are passed.
//
// A page that cannot be read is yielded as a *PageError. A caller that goes on gets the
// extents after the page. If extents are replaced during the walk, one may begin below the end of
// the one before it.
func (s *State) Walk(ctx context.Context, k Key, offset int64, read ReadPage) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for {
			extents, page, view, _ := s.FindFrom(k, offset, walked)
			if page == nil && len(extents) == 0 {
				return
			}
			from := max(offset, view.Start)
			if page != nil {
				offset = page.Last + 1
			} else {
				offset = extents[len(extents)-1].Last + 1
			}
			if page != nil && read != nil {
				in, err := read(ctx, page)
				if err != nil {
					if !yield(Extent{}, &PageError{page, err}) {
						return
					}
					continue
				}
				extents = in.From(from, in.len())
			}
			for _, e := range extents {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}
