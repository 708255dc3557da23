package expire

import (
	"context"

	"github.com/varvelog/varve/tiering/lost"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// first is a summary of the page with which a partition begins. It spares reads of the page
// while nothing can be due.
type first struct {
	of     part
	start  int64 // of the partition
	below  int64 // bytes of the page's extents that end before the start
	oldest piece // the first extent that does not
}

func (f *first) isOf(p *partlog.Page, start int64) bool {
	return f != nil && f.of == partOf(p) && f.start == start
}

// part is a page, or a part of one. The extents next to that part were replaced.
type part struct {
	object     segment.IndexName
	position   uint32
	base, last int64 // offsets
}

func partOf(p *partlog.Page) part { return part{p.IndexName, p.Position, p.Base, p.Last} }

// look is a look at one partition.
type look struct {
	*cursor
	policy Policy
	nowMs  int64
	first  *first         // nil: not known
	parts  map[part]int64 // bytes of parts of pages that were read
	lost   error          // of a page that is lost; nil: none was met
}

// measure finds the bytes of the pages of which extents were replaced. The state does not
// know how they divide among the parts that are left.
func (l *look) measure(ctx context.Context) error {
	known := l.parts
	l.parts = map[part]int64{}
	for _, p := range l.Pages {
		if p.Whole() || p.Last < l.View.Start {
			continue
		}
		at := partOf(p)
		bytes, ok := known[at]
		if !ok {
			read, err := l.read(ctx, p)
			if err != nil {
				return err
			}
			for _, e := range read.From(p.Base, all) {
				bytes += int64(e.Length)
			}
		}
		l.parts[at], p.Bytes = bytes, bytes
	}
	return nil
}

// start returns where the partition should start: past all pieces that are due, from the
// oldest on. It goes no further than a page that is lost. It goes by time alone if the bytes
// of one are not known. So the partition waits for that page, and no other does.
func (l *look) start(ctx context.Context) (int64, error) {
	start := l.View.Start
	total, err := l.total(ctx)
	switch {
	case lost.Is(err):
		l.lost, total = err, 0 // never too many
	case err != nil:
		return 0, err
	}
	for {
		x, ok := l.next()
		if !ok {
			return start, nil
		}
		if x.page != nil && start == l.View.Start && l.first.isOf(x.page, start) {
			x.bytes -= l.first.below
		}
		if l.policy.due(&x, l.nowMs, total) {
			start, total = x.last+1, total-x.bytes
			continue
		}
		if x.page == nil || !x.page.Merged {
			return start, nil // ranges of the journal in a page go together, or once they are merged
		}
		if start == l.View.Start {
			err = l.learn(ctx, x.page)
			if err == nil && l.first.isOf(x.page, start) && !l.policy.due(&l.first.oldest, l.nowMs, total) {
				return start, nil
			}
		}
		if err == nil {
			err = l.open(ctx, x.page)
		}
		switch {
		case lost.Is(err):
			l.lost = err
			return start, nil
		case err != nil:
			return 0, err
		}
	}
}

// learn reads the page with which the partition begins, if that is not known.
func (l *look) learn(ctx context.Context, p *partlog.Page) error {
	if l.first.isOf(p, l.View.Start) {
		return nil
	}
	extents, err := l.extents(ctx, p)
	if err != nil {
		return err
	}
	f := &first{of: partOf(p), start: l.View.Start, below: p.Bytes}
	for i := range extents {
		x := pieceOf(&extents[i])
		if i == 0 {
			f.oldest = x
		}
		f.below -= x.bytes
	}
	l.first = f
	return nil
}

// total is how many bytes of batches the partition has from its start on, if they count.
func (l *look) total(ctx context.Context) (total int64, err error) {
	if l.policy.RetentionBytes < 0 {
		return 0, nil
	}
	if err := l.measure(ctx); err != nil {
		return 0, err
	}
	for i := range l.Segments {
		if e := &l.Segments[i]; e.Last >= l.View.Start {
			total += int64(e.Length)
		}
	}
	for _, p := range l.Pages {
		if p.Last < l.View.Start {
			continue
		}
		if total += p.Bytes; p.Base < l.View.Start {
			if err := l.learn(ctx, p); err != nil {
				return 0, err
			}
			total -= l.first.below
		}
	}
	// The survey counts no less than journalBytes. It estimates the bytes of ranges in pages, so
	// it decides only that nothing is due.
	if most := total + l.JournalBytes; most < l.policy.RetentionBytes {
		return most, nil
	}
	return total + l.journalBytes(), nil
}

// journalBytes adds the journal ranges from the start on up, without those in pages. These
// are merged soon, and do not count until then: to read all pages at each look took so long
// that nothing was merged.
func (l *look) journalBytes() (total int64) {
	c := &cursor{Survey: &partlog.Survey{Key: l.Key, View: l.View, Merged: l.Merged}, state: l.state, from: l.from}
	for {
		x, ok := c.next()
		if !ok {
			return total
		}
		total += x.bytes
	}
}
