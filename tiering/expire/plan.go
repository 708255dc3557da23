// Package expire moves the starts of partitions up by retention, and drops the partitions
// of topics that are gone.
//
// It owns the decision which records are too old or too many. It promises that a start
// moves by whole extents, and only past records that may go by the topic's configuration.
// That is the one at the head of journal 0, which is proved first, and the time is one that
// the store confirms. It frees no byte: records below a start, or in a dropped partition,
// are released and deleted elsewhere.
//
// It never reads records, and never keeps one forever by its timestamp: one from the future
// is no newer than the object that brought it. The time of that object is the clock of one
// node, which nothing has confirmed. So it counts for these records alone, and a clock that
// was behind makes no others old.
package expire

import (
	"context"
	"slices"

	"github.com/varvelog/varve/tiering/clocks"
	"github.com/varvelog/varve/tiering/partlog"
)

// Policy is how long a topic keeps its records. -1 keeps them forever.
type Policy struct {
	RetentionMs    int64 // after the time of an extent's newest record
	RetentionBytes int64 // of a partition's batches, as they are stored
}

// keeps reports whether nothing ever goes.
func (p Policy) keeps() bool { return p.RetentionMs < 0 && p.RetentionBytes < 0 }

// piece is an extent, or the extents that a page has of a partition.
type piece struct {
	last  int64         // offset
	bytes int64         // of batches; of a page of journal ranges not known, 0
	ms    int64         // of the newest record, Unix milliseconds; -1: not known
	built int64         // when the object was built that brought the newest one; 0: not known
	page  *partlog.Page // nil: it is one extent
}

func pieceOf(e *partlog.Extent) piece {
	return piece{last: e.Last, bytes: int64(e.Length), ms: e.MaxTimestamp, built: e.SourceMs}
}

// newest returns the time that counts as that of the newest record; -1: not known.
func (x *piece) newest(nowMs int64) int64 {
	switch {
	case x.built > 0 && x.ms < 0:
		return x.built
	case x.built > 0 && x.ms > nowMs+clocks.ClientAhead.Milliseconds():
		return min(x.ms, x.built)
	}
	return x.ms
}

// due reports whether the oldest piece of a partition may go, which has total bytes.
func (p Policy) due(x *piece, nowMs, total int64) bool {
	if ms := x.newest(nowMs); p.RetentionMs >= 0 && ms >= 0 && nowMs-ms > p.RetentionMs {
		return true
	}
	known := x.page == nil || x.page.Merged
	return p.RetentionBytes >= 0 && known && total-x.bytes >= p.RetentionBytes
}

// cursor goes through the pieces of a partition from its start on, oldest first.
type cursor struct {
	*partlog.Survey
	state  *partlog.State
	read   partlog.ReadPage
	opened []partlog.Extent // of a page that was opened, not passed yet
	from   int64            // of the log from Merged on: the next offset
	ahead  []partlog.Extent // of it
}

func newCursor(state *partlog.State, s *partlog.Survey, read partlog.ReadPage) *cursor {
	c := &cursor{Survey: &partlog.Survey{}, state: state, read: read, from: max(s.View.Start, s.Merged)}
	*c.Survey = *s
	return c
}

// next returns the next piece; false if there is none.
func (c *cursor) next() (piece, bool) {
	if len(c.opened) > 0 {
		x := pieceOf(&c.opened[0])
		c.opened = c.opened[1:]
		return x, true
	}
	for len(c.Segments)+len(c.Pages) > 0 {
		x := c.below()
		if x.last >= c.View.Start {
			return x, true
		}
	}
	return c.above()
}

// below takes the first of the extents and pages below Merged.
func (c *cursor) below() (x piece) {
	if len(c.Pages) == 0 || len(c.Segments) > 0 && c.Segments[0].Base < c.Pages[0].Base {
		x = pieceOf(&c.Segments[0])
		c.Segments = c.Segments[1:]
		return x
	}
	p := c.Pages[0]
	c.Pages = c.Pages[1:]
	return piece{last: p.Last, bytes: p.Bytes, ms: p.MaxTimestamp, page: p}
}

// step is how many extents of the log from Merged on are looked up at a time.
const step = 64

// above takes the next of the extents and pages from Merged on.
func (c *cursor) above() (x piece, ok bool) {
	if len(c.ahead) == 0 {
		var page *partlog.Page
		c.ahead, page, _, _ = c.state.FindFrom(c.Key, c.from, step)
		if page != nil {
			c.from = page.Last + 1
			return piece{last: page.Last, ms: page.MaxTimestamp, page: page}, true
		}
		if len(c.ahead) == 0 {
			return piece{}, false
		}
		c.from = c.ahead[len(c.ahead)-1].Last + 1
	}
	x = pieceOf(&c.ahead[0])
	c.ahead = c.ahead[1:]
	return x, true
}

// all is more than a page has.
const all = 1 << 16

// open reads a page. The next pieces are its extents.
func (c *cursor) open(ctx context.Context, p *partlog.Page) error {
	opened, err := c.extents(ctx, p)
	c.opened = append(c.opened, opened...)
	return err
}

// extents reads the extents of a merged page that the partition has yet.
func (c *cursor) extents(ctx context.Context, p *partlog.Page) ([]partlog.Extent, error) {
	page, err := c.read(ctx, p)
	if err != nil {
		return nil, err
	}
	extents := page.From(max(p.Base, c.View.Start), all)
	return slices.DeleteFunc(extents, func(e partlog.Extent) bool { return e.Base > p.Last }), nil
}
