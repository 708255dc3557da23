package fetch

import (
	"context"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
)

// cut gathers whole batches from the pieces of a partition, up to limit bytes. It starts
// with the batch that holds the first offset wanted; with atLeastOne that batch may be
// larger than the limit. With an error it returns the batches before it.
func cut(ctx context.Context, pieces []*piece, limit int64, atLeastOne bool) (gather, error) {
	g := gather{limit: limit, atLeastOne: atLeastOne}
	for _, p := range pieces {
		more, err := g.take(ctx, p)
		g.waited = g.waited || p.waited
		if err != nil || !more {
			return g, err
		}
	}
	return g, nil
}

// gather collects batches, with references to their memory. Batches that follow each other
// become one part for each block they lie in.
type gather struct {
	limit      int64
	atLeastOne bool
	out        []cache.Part
	bytes      int64 // in out and in the run
	next       int64 // the offset after the last one gathered
	waited     bool  // a region was not in memory
}

// take gathers batches of p, and reports whether there is room for more.
func (g *gather) take(ctx context.Context, p *piece) (more bool, err error) {
	var r run
	defer func() { g.out = r.flush(g.out) }()
	for g.fits(batch.HeaderSize) { // else there is no need to read on
		if err := p.open(ctx); err != nil {
			return false, err
		}
		h, ok, err := p.next(ctx)
		if err != nil || !ok {
			return err == nil, err
		}
		if h.LastOffset() < p.from {
			p.skip(h)
			continue
		}
		size := int64(h.Size())
		if !g.fits(size) {
			return false, nil
		}
		if err := p.body(ctx, h); err != nil {
			return false, err
		}
		if r.size == 0 || r.spans != p.spans {
			g.out = r.flush(g.out)
			r = run{span: p.span.Retain(), spans: p.spans, pos: p.walk.Position()}
		}
		r.size += size
		g.bytes += size
		p.skip(h)
		g.next = p.walk.Offset()
	}
	return false, nil
}

// fits reports whether there is room for a batch of this many bytes.
func (g *gather) fits(size int64) bool {
	return g.bytes+size <= g.limit || g.bytes == 0 && g.atLeastOne
}

// run is batches that follow each other in one span. Another span, even of the same
// blocks read again, has other bytes, and those were not checked.
type run struct {
	span      cache.Span
	spans     int // which of the piece's spans it is
	pos, size int64
}

// flush appends the batches to out. It ends the run, which has a reference to its span.
func (r *run) flush(out []cache.Part) []cache.Part {
	defer r.span.Release()
	return r.span.Parts(out, r.pos, r.size)
}
