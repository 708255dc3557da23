package fetch

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// search looks for a record of a partition by its timestamp.
type search struct {
	*query
	journal journal
	key     partlog.Key
	start   int64 // the log start
	skipped bool  // it stepped over a batch whose records cannot be decoded
}

func (s *search) epochOfStart(v partlog.View) int32 {
	if epoch, ok := s.journal.State.EpochAt(s.key, v.Start); ok {
		return epoch
	}
	return v.Epoch
}

// notOlder finds the first record with a timestamp of ts or more. It reports that there
// is none only with a proved head, once all acknowledged records are applied.
func (s *search) notOlder(ctx context.Context, ts int64) (OffsetAt, error) {
	for settled := false; ; settled = true {
		for after := s.start - 1; ; {
			e, ok, err := s.extentWithTime(ctx, after, ts)
			if err != nil {
				return nowhere, err
			}
			if !ok {
				break
			}
			at, err := s.inExtent(ctx, e, ts)
			if err != nil || at != nowhere {
				return at, err
			}
			after = e.Last
		}
		if settled {
			return nowhere, nil
		}
		if err := s.settle(ctx, s.journal); err != nil {
			return nowhere, err
		}
		if err := s.prove(ctx, s.journal); err != nil {
			return nowhere, err
		}
	}
}

// extentWithTime finds the first extent after an offset that may hold a record with a
// timestamp of ts or more.
func (s *search) extentWithTime(ctx context.Context, after, ts int64) (partlog.Extent, bool, error) {
	for {
		e, page, ok := s.journal.State.FindTimeAfter(s.key, after, ts)
		if page == nil {
			return e, ok, nil
		}
		extents, err := s.reader.page(ctx, s.journal, page)
		if err != nil {
			return partlog.Extent{}, false, err
		}
		if e, ok := extents.WithTime(after+1, ts); ok {
			return e, true, nil
		}
		after = page.Last
	}
}

// newestExtent finds the first extent with the greatest timestamp of those that end at
// offset or after it and begin before end.
func (s *search) newestExtent(ctx context.Context, offset, end int64) (partlog.Extent, bool, error) {
	e, page, ok := s.journal.State.FindNewest(s.key, offset, end)
	if page == nil {
		return e, ok, nil
	}
	extents, err := s.reader.page(ctx, s.journal, page)
	if err != nil {
		return partlog.Extent{}, false, err
	}
	e, ok = extents.Newest(offset)
	if ok && e.MaxTimestamp == page.MaxTimestamp {
		return e, true, nil
	}
	// The record with the page's greatest timestamp is below offset, or was replaced.
	for _, side := range [][2]int64{{offset, page.First()}, {page.Last + 1, end}} {
		if side[0] >= side[1] {
			continue
		}
		other, more, err := s.newestExtent(ctx, side[0], side[1])
		if err != nil {
			return partlog.Extent{}, false, err
		}
		if more && (!ok || other.MaxTimestamp > e.MaxTimestamp || other.MaxTimestamp == e.MaxTimestamp && other.Base < e.Base) {
			e, ok = other, true
		}
	}
	return e, ok, nil
}

// newest finds the first record with the greatest timestamp. The head is proved.
func (s *search) newest(ctx context.Context) (OffsetAt, error) {
	newest, err := s.newestKnown(ctx)
	for after := s.start - 1; err == nil; {
		e, ok, findErr := s.extentWithTime(ctx, after, math.MaxInt64) // those that may have any
		if findErr != nil || !ok {
			return newest, findErr
		}
		var at OffsetAt
		at, err = s.newestIn(ctx, e)
		newest = newerOf(newest, at)
		after = e.Last
	}
	return nowhere, err
}

// newestKnown is newest among the extents whose greatest timestamp is known.
func (s *search) newestKnown(ctx context.Context) (OffsetAt, error) {
	newest := nowhere
	for offset := s.start; ; {
		e, ok, err := s.newestExtent(ctx, offset, math.MaxInt64)
		if err != nil || !ok || e.MaxTimestamp <= newest.Timestamp {
			return newest, err
		}
		at, err := s.newestIn(ctx, e)
		if err != nil {
			return nowhere, err
		}
		if s.skipped {
			return s.newestBelow(ctx, e.MaxTimestamp)
		}
		if at.Timestamp > newest.Timestamp {
			newest = at
		}
		if e.Base >= s.start || at.Timestamp == e.MaxTimestamp {
			return newest, nil
		}
		offset = e.Last + 1 // its newest records are deleted
	}
}

// newestBelow finds the first record with the greatest timestamp, which is limit at the
// most, where the timestamps in batch headers are not reliable. By bisection it finds the
// time after which there is no record.
func (s *search) newestBelow(ctx context.Context, limit int64) (OffsetAt, error) {
	newest := nowhere
	for low, high := int64(0), limit; low <= high; {
		ts := low + (high-low)/2
		at, err := s.notOlder(ctx, ts)
		switch {
		case err != nil:
			return nowhere, err
		case at == nowhere:
			high = ts - 1
		default:
			newest, low = at, at.Timestamp+1
		}
	}
	return newest, nil
}

// blocks returns the blocks of an extent. One that is read as a whole is its own block.
func (s *search) blocks(ctx context.Context, e *partlog.Extent) ([]extent, error) {
	whole := extent{Extent: *e}
	if !whole.inBlocks() {
		return []extent{whole}, nil
	}
	p, err := s.reader.section(ctx, s.key, e)
	if err != nil {
		return nil, err
	}
	return blocksOf(nil, e, p, s.start, len(p.Blocks)), nil
}

// newestIn finds the first record with the greatest timestamp of an extent.
func (s *search) newestIn(ctx context.Context, e partlog.Extent) (OffsetAt, error) {
	blocks, err := s.blocks(ctx, &e)
	if err != nil {
		return nowhere, err
	}
	slices.SortStableFunc(blocks, func(a, b extent) int { return cmp.Compare(b.upTo(), a.upTo()) })
	newest := nowhere
	for i := range blocks {
		if b := &blocks[i]; b.upTo() < newest.Timestamp || b.upTo() == newest.Timestamp && b.Base > newest.Offset {
			continue
		}
		at, err := s.newestInBlock(ctx, &blocks[i])
		if err != nil {
			return nowhere, err
		}
		newest = newerOf(newest, at)
	}
	return newest, nil
}

// newerOf returns the one with the greater timestamp, or else the first.
func newerOf(a, b OffsetAt) OffsetAt {
	if b.Timestamp > a.Timestamp || b.Timestamp == a.Timestamp && b.Offset < a.Offset {
		return b
	}
	return a
}

// newestInBlock is newestIn for a block. If its first records are deleted, the newest may
// be among them; then it looks at all others.
func (s *search) newestInBlock(ctx context.Context, e *extent) (OffsetAt, error) {
	at, cut, from := nowhere, e.Base < s.start, e.MaxTimestamp
	if cut {
		from = 0
	}
	err := s.batches(ctx, e, from, func(b []byte, h batch.Header) (bool, error) {
		if h.UpTo() <= at.Timestamp {
			return true, nil
		}
		found := at
		err := s.records(ctx, b, h, func(r OffsetAt) bool {
			if r.Timestamp > found.Timestamp {
				found = r
			}
			return true
		})
		if err == nil {
			at = found
		}
		return cut || at.Timestamp < e.MaxTimestamp || e.MaxTimestamp < 0, err
	})
	return at, err
}

// inExtent finds the first record of an extent with a timestamp of ts or more.
func (s *search) inExtent(ctx context.Context, e partlog.Extent, ts int64) (OffsetAt, error) {
	blocks, err := s.blocks(ctx, &e)
	at := nowhere
	for i := range blocks {
		if err != nil || at != nowhere {
			break
		}
		if blocks[i].upTo() >= ts {
			at, err = s.inBlock(ctx, &blocks[i], ts)
		}
	}
	return at, err
}

// inBlock is inExtent for a block.
func (s *search) inBlock(ctx context.Context, e *extent, ts int64) (OffsetAt, error) {
	at := nowhere
	err := s.batches(ctx, e, ts, func(b []byte, h batch.Header) (bool, error) {
		err := s.records(ctx, b, h, func(r OffsetAt) bool {
			if r.Timestamp < ts {
				return true
			}
			at = r
			return false
		})
		return at == nowhere, err
	})
	return at, err
}

// batches calls fn for the batches of an extent that by their header may hold a record
// with a timestamp of ts or more, until fn returns false. It steps over a batch for which
// fn has an error: the batch is stored as a client sent it, and no consumer gets its
// records either.
func (s *search) batches(ctx context.Context, e *extent, ts int64, fn func([]byte, batch.Header) (bool, error)) error {
	p := s.reader.newPiece(s.journal, s.key, e, s.start)
	defer p.close()
	if err := p.open(ctx); err != nil {
		return err
	}
	for {
		h, ok, err := p.next(ctx)
		if err != nil || !ok {
			return err
		}
		if h.UpTo() >= ts && h.LastOffset() >= s.start {
			if err := p.body(ctx, h); err != nil {
				return err
			}
			more, err := fn(p.bytes(h), h)
			if err != nil && ctx.Err() != nil {
				return readError(err)
			}
			if err != nil {
				s.skipped = true
				s.reader.undecodable.found(Damage{Object: p.object, Key: s.key, First: h.BaseOffset, Last: h.LastOffset(), Err: err})
			} else if !more {
				return nil
			}
		}
		p.skip(h)
	}
}

// records calls fn for the records of a batch, from the log start on, until fn returns
// false. If the batch has the broker's time, all its records have that time, and fn is
// called for the first one alone. Unless records were removed, that needs no look into the
// batch.
func (s *search) records(ctx context.Context, b []byte, h batch.Header, fn func(OffsetAt) bool) error {
	if h.LogAppendTime() && whole(&h) {
		fn(OffsetAt{Offset: max(h.BaseOffset, s.start), Timestamp: h.MaxTimestamp, Epoch: h.LeaderEpoch})
		return nil
	}
	return batch.Scan(ctx, s.reader.scans, b, func(r batch.Meta) bool {
		return r.Offset < s.start || fn(OffsetAt{Offset: r.Offset, Timestamp: r.Timestamp, Epoch: h.LeaderEpoch})
	})
}
