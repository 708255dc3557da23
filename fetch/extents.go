package fetch

import (
	"context"
	"iter"

	"github.com/varvelog/varve/tiering/partlog"
)

// Extents yields the extents of a partition in offset order, from the one that holds an
// offset on, up to the end that the state has by then. An offset below the log's start is
// the start. It reads index pages where extents are not in memory, and proves no head. An
// error ends it.
func (r *Reader) Extents(ctx context.Context, k partlog.Key, offset int64) iter.Seq2[partlog.Extent, error] {
	return func(yield func(partlog.Extent, error) bool) {
		q := r.newQuery()
		for {
			extents, err := q.extentsFrom(ctx, k, offset)
			if err != nil {
				yield(partlog.Extent{}, err)
				return
			}
			if len(extents) == 0 {
				return
			}
			for _, e := range extents {
				if !yield(e, nil) {
					return
				}
				offset = e.Last + 1
			}
		}
	}
}

// extentsFrom returns the next extents, from memory or from a page; none at the end.
func (q *query) extentsFrom(ctx context.Context, k partlog.Key, offset int64) ([]partlog.Extent, error) {
	for lost := gone(nil); ; {
		j, err := q.locate(k)
		if err != nil {
			return nil, err
		}
		extents, page, view, _ := j.State.FindFrom(k, offset, maxExtents)
		if page == nil {
			return extents, nil
		}
		found, err := q.reader.page(ctx, j, page)
		if err == nil {
			return found.From(max(offset, view.Start), maxExtents), nil
		}
		if err := lost.again(ctx, q, k, err); err != nil {
			return nil, err
		}
	}
}
