package expire

import (
	"context"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// first is a summary of the page with which a partition begins. It spares reads of the page
// while nothing can be due.
type first struct {
	object   segment.IndexName
	position uint32
	start    int64 // of the partition
	below    int64 // bytes of the page's extents that end before the start
	oldest   piece // the first extent that does not
}

func (f *first) isOf(p *partlog.Page, start int64) bool {
	return f != nil && f.object == p.IndexName && f.position == p.Position && f.start == start
}

// look is a look at one partition.
type look struct {
	*cursor
	policy Policy
	nowMs  int64
	first  *first // nil: not known
}

// start returns where the partition should start: past all pieces that are due, from the
// oldest on.
func (l *look) start(ctx context.Context) (int64, error) {
	start := l.View.Start
	total, err := l.total(ctx)
	if err != nil {
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
		if x.page == nil {
			return start, nil
		}
		if start == l.View.Start {
			if err := l.learn(ctx, x.page); err != nil {
				return 0, err
			}
			if l.first.isOf(x.page, start) && !l.policy.due(&l.first.oldest, l.nowMs, total) {
				return start, nil
			}
		}
		if err := l.open(ctx, x.page); err != nil {
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
	f := &first{object: p.IndexName, position: p.Position, start: l.View.Start, below: p.Bytes}
	for i := range extents {
		x := pieceOf(&extents[i])
		if i == 0 {
			f.oldest = x
		}
		f.below -= x.bytes
	}
	f.below = max(f.below, 0) // of journal ranges, whose bytes the page does not say
	l.first = f
	return nil
}

// total is how many bytes of batches the partition has from its start on, if they count.
func (l *look) total(ctx context.Context) (total int64, err error) {
	if l.policy.RetentionBytes < 0 {
		return 0, nil
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
	// The survey never counts too little. It counts ranges that were deleted before they
	// were merged, so it decides only that nothing is due.
	if most := total + l.JournalBytes; most < l.policy.RetentionBytes {
		return most, nil
	}
	above, err := l.journalBytes(ctx)
	return total + above, err
}

// journalBytes adds the journal ranges from the start on up.
func (l *look) journalBytes(ctx context.Context) (total int64, err error) {
	c := &cursor{Survey: &partlog.Survey{Key: l.Key, View: l.View, Merged: l.Merged}, state: l.state, read: l.cursor.read, from: l.from}
	for {
		x, ok := c.next()
		switch {
		case !ok:
			return total, nil
		case x.page == nil:
			total += x.bytes
		default:
			if err := c.open(ctx, x.page); err != nil {
				return 0, err
			}
		}
	}
}
