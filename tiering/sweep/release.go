package sweep

import (
	"context"
	"fmt"
	"time"

	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Releaser names objects that may be deleted in one journal under one leadership. One goroutine
// calls Run.
type Releaser struct {
	opt    Options
	next   time.Time                // of the next look
	firsts map[partlog.Key]firstRef // of partitions whose first ref is in a page
	judge  judge
	lost   lostPages
}

// firstRef is the seq of the first ref from an offset on, which is in a page.
type firstRef struct {
	page   partlog.Page
	offset int64
	seq    uint64
}

// NewReleaser returns a Releaser that has judged nothing yet.
func NewReleaser(opt Options) *Releaser {
	return &Releaser{opt: opt.withDefaults(), firsts: map[partlog.Key]firstRef{}}
}

// LostPages returns how many index pages hold objects back, as of the last look. It may be
// called from any goroutine.
func (r *Releaser) LostPages() int64 { return r.lost.count.Load() }

// Run commits the next Releases, if something can be released, and reports whether there
// may be more.
func (r *Releaser) Run(ctx context.Context) (again bool, err error) {
	now := r.opt.Now()
	if now.Before(r.next) {
		return false, nil
	}
	v, more, err := r.look(ctx)
	if err != nil {
		return false, err
	}
	releases, left := v.plan()
	if more = more || left; !more {
		r.next = now.Add(r.opt.Every)
	}
	if len(releases) == 0 {
		return more, nil
	}
	// tiering/journal/PROTOCOL.md, rule 27: graces begin at the time of the entry, by the node's clock.
	if _, trusted, err := r.opt.round(ctx); !trusted {
		r.next = now.Add(r.opt.Every)
		return false, err
	}
	var entries []segment.Entry
	for _, e := range releases {
		entries = append(entries, e.Encode())
	}
	// tiering/journal/PROTOCOL.md, rule 20: all that is released is named, by an entry that is planned on the applied state.
	if err := r.opt.carry(ctx, entries); err != nil {
		return false, fmt.Errorf("release: %w", err)
	}
	for _, e := range releases {
		r.opt.Log.Debug("tiering: released", "objects", len(e.Objects), "ranges", len(e.Seqs), "partitions", len(e.Freed))
	}
	return more, nil
}

// look returns the journal as it is, and reports whether there are more objects to judge.
func (r *Releaser) look(ctx context.Context) (_ *view, more bool, err error) {
	s := r.opt.State
	v := &view{paged: map[partlog.Key][]partlog.Extent{}, underWay: map[segment.ID]bool{}}
	// Objects that become free while the view is taken are left for the next one: the
	// state is asked for them first, and for the extents after that.
	v.unreleased = s.Unreleased()
	v.judged, v.kept = s.Judged()
	from, runs := s.Applied()
	for _, in := range s.Intents() {
		for _, o := range in.Objects {
			v.underWay[o.Name.Object] = true
		}
	}
	for _, g := range s.Garbage() {
		if !g.Deleted && !g.Ended {
			v.waiting++
		}
	}
	s.Survey(func(p *partlog.Survey) { v.parts = append(v.parts, *p) })
	v.unmerged = s.Unmerged() // after the starts, which may move on until then
	r.lost.begin()
	if v.lowest, err = r.lowest(ctx, v); err != nil {
		return nil, false, err
	}
	if more, err = r.judge.runs(ctx, &r.opt, v, from, runs); err != nil {
		return nil, false, err
	}
	for i := range v.parts {
		if err := r.readPaged(ctx, v, &v.parts[i]); err != nil {
			return nil, false, err
		}
	}
	r.lost.end(r.opt.OnLostPage)
	return v, more, nil
}

// lowest returns the lowest seq that an extent above merged names.
func (r *Releaser) lowest(ctx context.Context, v *view) (uint64, error) {
	lowest := unknown
	for i := range v.parts {
		p := &v.parts[i]
		switch {
		case p.View.Dropped:
		case p.First != nil:
			lowest = min(lowest, p.First.Object.Seq)
		case p.FirstPage != nil:
			seq, err := r.firstOf(ctx, p)
			if r.lost.note(p.FirstPage, err) {
				// It was not lower before. Nothing that any extent names is judged.
				seq, err = max(r.firsts[p.Key].seq, v.judged.Seq), nil
			}
			if err != nil {
				return 0, err
			}
			lowest = min(lowest, seq)
		}
	}
	return lowest, nil
}

// firstOf reads the page that has the first ref of a partition, unless it did before.
func (r *Releaser) firstOf(ctx context.Context, p *partlog.Survey) (uint64, error) {
	offset := max(p.Merged, p.View.Start)
	if known, ok := r.firsts[p.Key]; ok && known.page == *p.FirstPage && known.offset == offset {
		return known.seq, nil
	}
	extents, err := r.opt.Page(ctx, p.FirstPage)
	if err != nil {
		return 0, err
	}
	first := extents.From(offset, 1)
	if len(first) == 0 {
		return 0, fmt.Errorf("%w: the index page of %v has no offset %d", segment.ErrCorrupt, p.Key, offset)
	}
	r.firsts[p.Key] = firstRef{page: *p.FirstPage, offset: offset, seq: first[0].Object.Seq}
	return first[0].Object.Seq, nil
}

// pagesAtOnce bounds the pages of a partition that are read for one Release.
const pagesAtOnce = 8

// readPaged reads pages of merged extents that the start of a log has passed.
func (r *Releaser) readPaged(ctx context.Context, v *view, p *partlog.Survey) error {
	end := upper(p)
	read := 0
	for _, page := range p.Pages {
		if page.Base >= end || page.Last < p.Freed || end <= p.Freed {
			continue
		}
		read++
		var extents *partlog.PageExtents
		var err error
		if read <= pagesAtOnce {
			extents, err = r.opt.Page(ctx, page)
		}
		if read > pagesAtOnce || r.lost.note(page, err) {
			p.View.Start, p.View.End = min(p.View.Start, page.Base), min(p.View.End, page.Base) // no further in this Release
			break
		}
		if err != nil {
			return err
		}
		v.paged[p.Key] = append(v.paged[p.Key], extents.From(page.Base, maxPage)...)
	}
	return nil
}

// maxPage is more than a page has.
const maxPage = 1024
