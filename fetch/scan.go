package fetch

import (
	"context"
	"sync"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
)

// scanAhead is how many extents a Scan reads at once.
const scanAhead = 8

// Scan calls fn for the batches of a partition, in order, and checked as for a Fetch. It
// starts with the batch that holds offset from, which may start before it, and goes up to
// the high watermark of a head that was proved after the call. An offset below the log
// start stands for the log start. The bytes of a batch must not be changed, and not be
// used after fn has returned.
//
// Scan returns the offset to go on from: the high watermark, or, with an error, the offset
// after the last batch that fn has taken. An error of fn ends the Scan and is returned as
// it is; the other errors are those of a partition. Objects are read ahead of fn, as fast
// as it takes the batches. One Scan may take as long as ctx allows.
func (r *Reader) Scan(ctx context.Context, k partlog.Key, from int64, fn func(h batch.Header, b []byte) error) (next int64, err error) {
	q := r.newQuery()
	j, err := q.locate(k)
	if err != nil {
		return from, err
	}
	view, err := q.view(ctx, j, k, -1, true)
	if err != nil {
		return from, err
	}
	if from > view.End {
		return from, ErrOutOfRange
	}
	s := scan{reader: r, journal: j, key: k, next: from, end: view.End, fn: fn}
	for lost := gone(nil); s.next < s.end; {
		err := s.some(ctx)
		if err == nil {
			continue
		}
		if err := lost.again(ctx, q, k, err); err != nil {
			return s.next, err
		}
		if s.journal, err = q.locate(k); err != nil {
			return s.next, err
		}
	}
	return s.next, nil
}

// scan is a Scan under way.
type scan struct {
	reader  *Reader
	journal journal
	key     partlog.Key
	next    int64 // offset of the next batch, or in it
	end     int64 // the high watermark to reach
	fn      func(batch.Header, []byte) error
}

// some passes on the batches of the extents that one look-up finds.
func (s *scan) some(ctx context.Context) error {
	if view, ok := s.journal.State.Lookup(s.key); ok {
		s.next = max(s.next, view.Start)
	}
	extents, err := s.reader.piecesFrom(ctx, s.journal, s.key, s.next, maxExtents, scanAhead*cache.MaxGet)
	if err != nil {
		return err
	}
	if len(extents) == 0 {
		s.next = s.end // the log start is beyond it
		return nil
	}
	return s.extents(ctx, extents)
}

// extents passes on the batches of extents, while the next ones are being read.
func (s *scan) extents(ctx context.Context, extents []extent) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	pieces := make([]*piece, len(extents))
	defer func() {
		cancel()
		wg.Wait()
		for _, p := range pieces {
			if p != nil {
				p.close()
			}
		}
	}()
	opened := make([]chan struct{}, len(extents))
	open := func(i int) {
		if i%scanAhead == 0 {
			s.want(extents[i:min(i+scanAhead, len(extents))])
		}
		p := s.reader.newPiece(s.journal, s.key, &extents[i], s.next)
		p.ahead, p.replay = min(int64(extents[i].Length), cache.MaxGet), true
		done := make(chan struct{})
		pieces[i], opened[i] = p, done
		wg.Go(func() {
			defer close(done)
			_ = p.open(ctx) // shows when the piece is used
		})
	}
	for i := range min(scanAhead, len(extents)) {
		open(i)
	}
	for i := range extents {
		<-opened[i]
		if i+scanAhead < len(extents) {
			open(i + scanAhead)
		}
		if err := s.batches(ctx, pieces[i]); err != nil || s.next >= s.end {
			return err
		}
		pieces[i].close()
	}
	return nil
}

// want starts to read blocks of merged segments, so that neighbours need one GET.
func (s *scan) want(extents []extent) {
	var regions []cache.Region
	for i := range extents {
		if e := &extents[i]; e.Gaps() && e.Length > 0 {
			regions = append(regions, regionOf(rangeOf(e.Object.Key(), &e.Extent), *e))
		}
	}
	if len(regions) > 1 {
		s.reader.cfg.Cache.Want(regions)
	}
}

// batches passes on the batches of a piece.
func (s *scan) batches(ctx context.Context, p *piece) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	for s.next < s.end {
		h, ok, err := p.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			s.next = p.last + 1 // its last offsets may be a gap
			return nil
		}
		if h.LastOffset() >= s.next {
			if err := p.body(ctx, h); err != nil {
				return err
			}
			if err := s.fn(h, p.bytes(h)); err != nil {
				return err
			}
			s.next = h.LastOffset() + 1
		}
		p.skip(h)
	}
	return nil
}
