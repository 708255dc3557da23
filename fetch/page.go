package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// maxPages is how many pages are read for one partition of a Fetch. There are two, so
// that the end of a page does not make an answer small.
const maxPages = 2

// IndexPages rebuilds index pages that cannot be read.
type IndexPages interface {
	// Page returns the bytes of a page that was rebuilt and is not in the bucket; nil
	// otherwise.
	Page(p *partlog.Page) []byte
	// Rebuild starts to rebuild the pages that the state names and that cannot be read.
	// It does not wait; Reader.Mended follows for each object.
	Rebuild(s *partlog.State)
}

// Mended forgets the damage that was found in an object.
func (r *Reader) Mended(object string) { r.verdicts.forget(object) }

// page reads extents that are not in memory, through the block cache. It does not look at
// the header of the index object, because the state has the CRC of the page.
func (r *Reader) page(ctx context.Context, j journal, p *partlog.Page) (*partlog.PageExtents, error) {
	if r.cfg.Pages != nil {
		if b := r.cfg.Pages.Page(p); b != nil {
			if extents, err := partlog.DecodePage(p, b); err == nil {
				return extents, nil
			}
		}
	}
	at := place{object: p.ObjectKey(), position: p.Position}
	look, err := r.verdicts.blocked(at, p.Base)
	if err != nil {
		return nil, err
	}
	if look {
		r.cfg.Cache.Forget(rangeOfPage(at, p))
	}
	extents, err := r.readCopies(ctx, at, p)
	if err == nil && r.verdicts.known(at) {
		r.verdicts.sound(at, p.Base)
	}
	if isDamage(err) && p.Seq > 0 && r.cfg.Removed != nil {
		extents, err = r.removed(ctx, p, err)
	}
	if isDamage(err) && !errors.Is(err, partlog.ErrBehind) && r.cfg.Pages != nil {
		r.cfg.Pages.Rebuild(j.State)
	}
	return extents, r.noted(at, p.Key, p.Base, p.Last, err)
}

// removed reads a page that is lost as the newest floor has it. If that does not have it
// either, the error is lost, the one of the page.
func (r *Reader) removed(ctx context.Context, p *partlog.Page, lost error) (*partlog.PageExtents, error) {
	extents, err := r.cfg.Removed(ctx, p)
	switch {
	case err == nil:
		return extents, nil
	case errors.Is(err, partlog.ErrBehind) && errors.Is(lost, errMissing):
		return nil, fmt.Errorf("%w: %w", lost, err)
	case errors.Is(err, partlog.ErrBehind), errors.Is(err, partlog.ErrNotHere), isDamage(readError(err)):
		return nil, lost
	}
	return nil, readError(err)
}

// readCopies reads a page, or its copy if the page is damaged or gone. The error is that of
// the page.
func (r *Reader) readCopies(ctx context.Context, at place, p *partlog.Page) (*partlog.PageExtents, error) {
	extents, err := r.readPage(ctx, at, p)
	if isDamage(err) && !errors.Is(err, errMissing) {
		extents, err = r.readPage(ctx, at, p) // the damage may have happened on the way
	}
	if !isDamage(err) || p.Seq == 0 {
		return extents, err
	}
	second := p.IndexName
	second.Copy = true
	found, copyErr := r.readPage(ctx, place{object: second.Key(), position: p.Position}, p)
	if copyErr != nil && !isDamage(copyErr) {
		return nil, copyErr // it may pass
	}
	if copyErr == nil {
		return found, nil
	}
	return nil, err
}

func (r *Reader) readPage(ctx context.Context, at place, p *partlog.Page) (*partlog.PageExtents, error) {
	bytes := rangeOfPage(at, p)
	span, err := r.cfg.Cache.Read(ctx, bytes, segment.BlobHeaderSize+int64(p.Size))
	if err != nil {
		return nil, readError(err)
	}
	defer span.Release()
	extents, err := partlog.DecodePage(p, span.Slice(bytes.Pos, bytes.Len))
	if err != nil {
		r.cfg.Cache.Forget(bytes)
		return nil, damaged(at.object, "%w", err)
	}
	return extents, nil
}

// rangeOfPage is where the bytes of a page lie.
func rangeOfPage(at place, p *partlog.Page) cache.Range {
	return cache.Range{Object: at.object, Pos: segment.BlobHeaderSize + int64(p.Position), Len: int64(p.Length)}
}

// pages reads the pages and the sections that the positions need, several at a time, for
// as many partitions as are needed to fill the answer.
func (f *fetch) pages(ctx context.Context) {
	room := max(f.maxBytes, 1) // for a first batch
	for start := 0; start < len(f.parts) && room > 0; {
		paged, end := f.nextPaged(start, room)
		errs := make([]error, len(paged))
		parallel(f.reader.cfg.Concurrency, len(paged), func(i int) {
			errs[i] = f.resolve(ctx, paged[i])
		})
		for i, p := range paged {
			if errs[i] != nil {
				errs[i] = f.refresh(ctx, p, errs[i])
			}
			p.result.Err, p.failed = errs[i], isReadError(errs[i])
		}
		for ; start < end; start++ {
			room -= f.parts[start].bytes
		}
	}
}

// nextPaged returns the positions from start to end that are unresolved. By their estimates
// they fill the room; if more can be read at once, there are more.
func (f *fetch) nextPaged(start int, room int64) (paged []*position, end int) {
	for end = start; end < len(f.parts); end++ {
		p := &f.parts[end]
		if room <= 0 && len(paged) >= f.reader.cfg.Concurrency {
			break
		}
		if p.unresolved() {
			paged = append(paged, p)
		}
		room -= p.bytes
	}
	return paged, end
}

// resolve finds all that is read of a position: the extents in pages, and the blocks of
// extents that are read by blocks.
func (f *fetch) resolve(ctx context.Context, p *position) error {
	if err := f.follow(ctx, p); err != nil {
		return err
	}
	extents, err := f.reader.expand(ctx, p.Key, p.extents, p.from, maxExtents, p.limit())
	p.extents, p.bytes = nil, 0
	p.add(extents)
	if len(extents) > 0 {
		return nil // the next Fetch meets the error first
	}
	return err
}

// follow finds the extents of a position that starts in a page. The extents after the
// page come from a later view of the partition, which becomes the view of the result.
func (f *fetch) follow(ctx context.Context, p *position) error {
	if p.page == nil {
		return nil
	}
	p.bytes = 0 // was a guess
	for n := 0; p.page != nil && n < maxPages && !p.full(); n++ {
		page := p.page
		extents, err := f.reader.page(ctx, p.journal, page)
		switch {
		case err != nil && len(p.extents) == 0:
			return err
		case err != nil:
			return nil // the next Fetch meets it first
		}
		p.add(wrapped(extents.From(p.from, maxExtents-len(p.extents))))
		found, next, view, _ := p.journal.State.Find(p.Key, page.Last+1, maxExtents-len(p.extents))
		p.result = Result{HighWatermark: view.End, LogStart: view.Start, Epoch: view.Epoch}
		p.add(wrapped(found))
		p.page = next
	}
	return nil
}
