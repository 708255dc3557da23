package merge

import (
	"container/heap"
	"context"

	"github.com/varvelog/varve/tiering/partlog"
)

// windowExtents is how many extents all cursors together hold in memory, about.
const windowExtents = 1 << 16

// cursor goes through the journal's ranges of one partition.
type cursor struct {
	part   *gathered
	window []partlog.Extent // the next ones
	next   int64            // offset from which on the window goes on
	end    int64            // no range ends above it
}

// cursors goes through the ranges of many partitions in the order of their seqs. It is a
// heap of those that have a range left.
type cursors struct {
	state *partlog.State
	pages func(context.Context, *partlog.Page) (*partlog.PageExtents, error)
	most  int // extents in a window
	all   []*cursor
}

func newCursors(opt *Options, partitions int) *cursors {
	return &cursors{state: opt.State, pages: opt.Page, most: max(1, min(256, windowExtents/max(1, partitions)))}
}

// add begins a cursor at the range of a partition that holds an offset. It ends with the
// last range that does not end above another offset.
func (c *cursors) add(ctx context.Context, part *gathered, from, end int64) error {
	x := &cursor{part: part, next: from, end: end}
	if err := c.fill(ctx, x); err != nil || len(x.window) == 0 {
		return err
	}
	heap.Push(c, x)
	return nil
}

// fill brings the next ranges of a cursor into its empty window.
func (c *cursors) fill(ctx context.Context, x *cursor) error {
	extents, page, _, _ := c.state.Find(x.part.Key, x.next, c.most)
	if page != nil {
		in, err := c.pages(ctx, page)
		if err != nil {
			return err
		}
		extents = in.From(x.next, c.most)
	}
	for len(extents) > 0 && extents[len(extents)-1].Last >= x.end {
		extents = extents[:len(extents)-1]
	}
	if x.window = extents; len(extents) > 0 {
		x.next = extents[len(extents)-1].Last + 1
	}
	return nil
}

// ranges are the ranges that one journal object has of partitions.
type ranges struct {
	seq   uint64
	bytes int64
	parts []*gathered
	of    []partlog.Extent
}

// pop returns the ranges of the lowest seq; false if there are none left.
func (c *cursors) pop(ctx context.Context) (r ranges, ok bool, err error) {
	if len(c.all) == 0 {
		return r, false, nil
	}
	r.seq = c.all[0].seq()
	for len(c.all) > 0 && c.all[0].seq() == r.seq {
		x := c.all[0]
		r.parts, r.of = append(r.parts, x.part), append(r.of, x.window[0])
		r.bytes += int64(x.window[0].Length)
		if x.window = x.window[1:]; len(x.window) == 0 {
			if err := c.fill(ctx, x); err != nil {
				return r, false, err
			}
		}
		if len(x.window) == 0 {
			heap.Pop(c)
		} else {
			heap.Fix(c, 0)
		}
	}
	return r, true, nil
}

func (x *cursor) seq() uint64 { return x.window[0].Object.Seq }

// Len implements heap.Interface, as the methods below.
func (c *cursors) Len() int           { return len(c.all) }
func (c *cursors) Less(i, j int) bool { return c.all[i].seq() < c.all[j].seq() }
func (c *cursors) Swap(i, j int)      { c.all[i], c.all[j] = c.all[j], c.all[i] }
func (c *cursors) Push(x any)         { c.all = append(c.all, x.(*cursor)) }

// Pop implements heap.Interface.
func (c *cursors) Pop() any {
	n := len(c.all) - 1
	x := c.all[n]
	c.all = c.all[:n]
	return x
}
