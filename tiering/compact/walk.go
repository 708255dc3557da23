package compact

import (
	"context"
	"iter"

	"github.com/varvelog/varve/tiering/partlog"
)

// extents yields the extents of a partition from the one that holds an offset on, as far as
// they are merged. If the start moves beyond the offset, they begin at the start: a pass
// that found none would be taken for complete.
func (s *Step) extents(ctx context.Context, k partlog.Key, from int64) iter.Seq2[partlog.Extent, error] {
	return func(yield func(partlog.Extent, error) bool) {
		merged, _ := s.opt.State.Compacted(k)
		for e, err := range s.opt.State.Walk(ctx, k, from, s.opt.Page) {
			if err == nil && e.Last >= merged || !yield(e, err) {
				return
			}
		}
	}
}
