package fetch

import (
	"context"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
)

// gather collects batches of a partition, with references to their memory. Batches that
// follow each other become one part for each block they lie in.
type gather struct {
	from       int64 // the first offset wanted
	limit      int64 // bytes
	atLeastOne bool  // whatever the limit
	out        []cache.Part
	bytes      int64 // in out and in the run
	next       int64 // the offset after the last one gathered
	end        int64 // there is no other batch before this offset
	full       bool  // there is no room for the next batch
	useful     bool  // some batch surely has a record at from or after it
	waited     bool  // a region was not in memory
}

// cut gathers whole batches from the pieces of a partition, up to the limit. It starts with
// the batch that holds the first offset wanted, or the first one after it. With atLeastOne
// the first useful batch may be larger than the limit. With an error it keeps the batches
// before it.
//
// A plan that comes first may use all of its pieces. The others keep to the pieces that
// were expected to be needed: those are open, and more would be read one after the other.
func (g *gather) cut(ctx context.Context, p *plan) error {
	for i, piece := range p.pieces {
		if i >= p.wanted && g.useful && !g.goOn(piece) {
			return nil
		}
		err := g.take(ctx, piece)
		g.waited = g.waited || piece.waited
		if err != nil || g.full {
			return err
		}
	}
	return nil
}

// goOn reports whether to read a piece that was not expected to be needed.
func (g *gather) goOn(p *piece) bool { return g.atLeastOne && !p.extent.Gaps() }

// take gathers batches of p.
func (g *gather) take(ctx context.Context, p *piece) error {
	var r run
	defer func() { g.out = r.flush(g.out) }()
	for {
		if !g.fits(batch.HeaderSize) { // there is no need to read on
			g.full = true
			return nil
		}
		if err := p.open(ctx); err != nil {
			return err
		}
		h, ok, err := p.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			g.end = p.last + 1
			return nil
		}
		if h.LastOffset() < p.from {
			p.skip(h)
			continue
		}
		size := int64(h.Size())
		if !g.fits(size) {
			g.full = true
			return nil
		}
		if err := p.body(ctx, h); err != nil {
			return err
		}
		if r.size == 0 || r.spans != p.spans {
			g.out = r.flush(g.out)
			r = run{span: p.span.Retain(), spans: p.spans, pos: p.walk.Position()}
		}
		r.size += size
		g.bytes += size
		g.useful = g.useful || g.uses(&h)
		p.skip(h)
		g.next, g.end = h.LastOffset()+1, h.LastOffset()+1
	}
}

// fits reports whether there is room for a batch of this many bytes.
func (g *gather) fits(size int64) bool {
	return g.bytes+size <= g.limit || !g.useful && g.atLeastOne
}

// uses reports whether a batch surely has a record for the client. Where records were
// removed, the batch that holds the first offset wanted may have none from there on. Some
// clients do not get past an answer without a record.
func (g *gather) uses(h *batch.Header) bool {
	return h.Records > 0 && !h.Control() && (whole(h) || h.BaseOffset >= g.from)
}

// whole reports whether no record of a batch was removed.
func whole(h *batch.Header) bool { return int64(h.Records) == int64(h.LastOffsetDelta)+1 }

// serves reports whether one of the batches has a record for the client, by a look into
// them. Batches that cannot be decoded count as they are: a client is to see them.
func (r *Reader) serves(ctx context.Context, g *gather) (found bool) {
	var b []byte // they are few: a batch that surely has a record ends the search for one
	for _, part := range g.out {
		b = append(b, part.Bytes...)
	}
	err := batch.Walk(b, func(pos int, h batch.Header) error {
		if h.Control() || found {
			return nil
		}
		return batch.Scan(ctx, r.scans, b[pos:], func(m batch.Meta) bool {
			found = m.Offset >= g.from
			return !found
		})
	})
	return found || err != nil
}

// drop lets go of all batches.
func (g *gather) drop() {
	for _, part := range g.out {
		part.Block.Release()
	}
	g.out, g.bytes, g.end = nil, 0, 0
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
