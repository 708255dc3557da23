package compact

import (
	"context"
	"fmt"

	"github.com/varvelog/varve/tiering/partlog"
)

// atOnce is how many extents are looked up at once.
const atOnce = 64

// extents calls fn for the extents of a partition from the one that holds an offset on,
// as far as they are merged, until fn returns false. The start of the partition may have
// moved beyond the offset: then they begin at the start. Without that a pass whose start
// moves would find no extents, and be taken for complete.
func (s *Step) extents(ctx context.Context, k partlog.Key, from int64, fn func(e *partlog.Extent) bool) error {
	for {
		merged, _ := s.opt.State.Compacted(k)
		found, page, view, ok := s.opt.State.Find(k, from, atOnce)
		if ok && from < view.Start {
			from = view.Start
			continue
		}
		if page != nil {
			in, err := s.opt.Page(ctx, page)
			if err != nil {
				return fmt.Errorf("read the index of %s-%d: %w", k.Topic, k.Index, err)
			}
			found = in.From(from, atOnce)
		}
		if !ok || len(found) == 0 {
			return nil
		}
		for i := range found {
			e := &found[i]
			if e.Last >= merged || !fn(e) {
				return nil
			}
			from = e.Last + 1
		}
	}
}
