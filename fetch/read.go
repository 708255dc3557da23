package fetch

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/varvelog/varve/fetch/cache"
)

// openBytes is about how much memory the pieces have that a Fetch opens at once. A client
// may ask for a few bytes of each of many partitions, and a piece is read as a whole.
const openBytes = 64 << 20

// read reads the records of the partitions, and answers. Objects that are expected to be
// needed are read at the same time, as many as openBytes allows. Which batches fit is decided
// after that, in the order of the partitions.
func (f *fetch) read(ctx context.Context) *Response {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	f.pages(ctx)
	plans, expected := f.plan()
	if len(plans) == 0 {
		return f.respond(func() {})
	}
	own, err := f.reader.reserve(ctx, expected, f.req.OnShort)
	if err != nil {
		// Clients that do not read their answers hold all the room. This request gets one
		// batch all the same, so that it goes on, if slowly.
		own, plans, f.maxBytes = &share{reader: f.reader}, plans[:1], 1
	}
	h := holding{reader: f.reader, share: own}
	var total int64
	for start := 0; start < len(plans); {
		end := start + f.reader.together(plans[start:])
		f.openAll(ctx, plans, start, end)
		for i := range plans[start:end] {
			total += f.serve(ctx, &h, &plans[start+i], f.maxBytes-total, total == 0)
		}
		h.settle()
		start = end
	}
	own.shrink(total)
	return f.respond(h.release)
}

// together returns how many of the plans are opened at once: at least one.
func (r *Reader) together(plans []plan) (n int) {
	for bytes := int64(0); n < len(plans) && bytes < r.openBytes; n++ {
		bytes += plans[n].memory()
	}
	return n
}

// plan says how one partition is read.
type plan struct {
	*position
	pieces []*piece
	wanted int  // the pieces that are expected to be needed
	far    bool // from the tail
}

// memory is about how much the pieces hold that are expected to be needed. Readers at the
// tail share its blocks.
func (p *plan) memory() (bytes int64) {
	if !p.far {
		return 0
	}
	for _, x := range p.pieces[:p.wanted] {
		if size := int64(x.extent.Length); x.replay || x.extent.Gaps() {
			bytes += size
		} else {
			bytes += min(x.ahead, size) + cache.BlockSize
		}
	}
	return bytes
}

// plan lists the pieces of all partitions that have records, and about how many
// bytes they will give.
func (f *fetch) plan() (plans []plan, expected int64) {
	for i := range f.parts {
		p := &f.parts[i]
		if len(p.extents) == 0 {
			continue
		}
		p.stream = f.replayer(p)
		plans = append(plans, f.planOf(p, f.maxBytes-expected))
		expected = min(expected+p.bytes, f.maxBytes)
	}
	return plans, expected
}

func (f *fetch) planOf(p *position, room int64) plan {
	room = min(room, int64(p.MaxBytes))
	pl := plan{position: p, far: f.isFar(p)}
	replay := pl.far && p.apart()
	for i := range p.extents {
		if room > 0 {
			pl.wanted++
		}
		bytes := available(&p.extents[i].Extent, p.Offset)
		piece := f.reader.newPiece(p.journal, p.Key, &p.extents[i], p.Offset)
		piece.ahead, piece.replay = sparseGap+max(0, min(bytes, room)), replay
		pl.pieces = append(pl.pieces, piece)
		room -= bytes
	}
	return pl
}

// openAll opens the pieces that are expected to be needed of the plans from start to end,
// several at a time. With the first of the plans it starts to read ahead for all of them:
// their readers share GETs. Errors show when a piece is used.
func (f *fetch) openAll(ctx context.Context, plans []plan, start, end int) {
	var pieces []*piece
	var regions []cache.Region
	for i := range plans[start:end] {
		pl := &plans[start+i]
		for _, p := range pl.pieces[:pl.wanted] {
			pieces = append(pieces, p)
			p.suspect = f.reader.verdicts.known(p.place())
			if (p.replay || p.extent.Gaps()) && p.extent.Length > 0 && !p.journal.holds(p.extent.Object) && p.apart() {
				regions = append(regions, p.region())
			}
		}
	}
	if len(regions) > 0 {
		f.reader.cfg.Cache.Want(regions)
	}
	if start == 0 {
		f.fetchAhead(ctx, plans)
	}
	if len(pieces) > 1 { // else it is opened when it is used
		parallel(f.reader.cfg.Concurrency, len(pieces), func(i int) { _ = pieces[i].open(ctx) })
	}
}

// parallel calls fn for 0 to n-1, up to workers at a time.
func parallel(workers, n int, fn func(i int)) {
	if workers = min(workers, n); workers == 1 {
		workers = 0
		for i := range n {
			fn(i)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				fn(int(i))
			}
		})
	}
	wg.Wait()
}

// serve fills in the result of a partition with up to room bytes, and returns how many
// it took.
func (f *fetch) serve(ctx context.Context, h *holding, p *plan, room int64, first bool) int64 {
	g := gather{from: p.Offset, limit: min(room, int64(p.MaxBytes)), atLeastOne: first}
	err := f.fill(ctx, p, &g, room)
	h.add(&p.result, g.out)
	if g.bytes == 0 {
		p.result.Err, p.failed = err, isReadError(err) // otherwise the next Fetch meets it first
		return 0
	}
	if p.far {
		f.reader.streams.answered(p.stream, p.Key, p.Offset, g.next, g.waited)
	}
	return g.bytes
}

// fill gathers the batches of a partition. It looks further while those that it has hold no
// record that the client asked for, and looks again if an object is gone.
func (f *fetch) fill(ctx context.Context, p *plan, g *gather, room int64) error {
	for {
		err := g.cut(ctx, p)
		closeAll(p.pieces)
		switch {
		case g.useful && err != nil:
			return err
		case err != nil:
			p.from = p.Offset
			if err = f.refresh(ctx, p.position, err); err == nil {
				g.drop() // all of it is gathered again
			}
		case g.full && !g.useful:
			g.drop() // more follows, and there is no room for it
			return nil
		case g.full || g.useful || g.end >= p.result.HighWatermark:
			return nil
		default: // only a gap, or batches that may have no record at the offset or after it
			err = f.lookFurther(ctx, p.position, g.end)
		}
		if err != nil {
			if !f.reader.serves(ctx, g) {
				g.drop() // the batches would hide the error
			}
			return err
		}
		if len(p.extents) == 0 {
			return nil
		}
		again := f.planOf(p.position, room)
		p.pieces, p.wanted = again.pieces, again.wanted
	}
}

// lookFurther looks a partition up from an offset on, because there is only a gap before it.
func (f *fetch) lookFurther(ctx context.Context, p *position, from int64) error {
	p.from = from
	f.lookAt(ctx, p)
	if p.result.Err != nil {
		return p.result.Err
	}
	if err := f.resolve(ctx, p); err != nil {
		return f.refresh(ctx, p, err)
	}
	return nil
}

func closeAll(pieces []*piece) {
	for _, p := range pieces {
		p.close()
	}
}

// refresh looks a partition up again with the head proved, because err says that an object
// of it is gone. The records lie in another object by now, or are deleted; any other loss
// stays an error.
func (f *fetch) refresh(ctx context.Context, p *position, err error) error {
	for {
		if err := p.gone.again(ctx, f.query, p.Key, err); err != nil {
			return err
		}
		f.lookAt(ctx, p)
		if p.result.Err != nil {
			return p.result.Err
		}
		if err = f.resolve(ctx, p); err == nil {
			return nil
		}
	}
}

// share is a part of MaxResponseBytes.
type share struct {
	reader *Reader
	bytes  int64
}

// reserve takes the bytes of a response out of MaxResponseBytes, all at once, so that no
// two requests wait for each other. onShort is called while it waits.
func (r *Reader) reserve(ctx context.Context, bytes int64, onShort func(int64)) (*share, error) {
	own := &share{reader: r, bytes: bytes}
	if r.memory.TryAcquire(bytes) {
		return own, nil
	}
	ctx, cancel := context.WithTimeout(ctx, memoryLimit)
	defer cancel()
	for {
		if onShort != nil {
			onShort(bytes)
		}
		look, stop := context.WithTimeout(ctx, shortEvery)
		err := r.memory.Acquire(look, bytes)
		stop()
		switch {
		case err == nil:
			return own, nil
		case ctx.Err() != nil:
			return nil, err
		}
	}
}

// shrink gives back the bytes that are not used. A first batch may be larger than the
// share; no request waits for that, so that such a batch always comes through.
func (s *share) shrink(used int64) {
	if used < s.bytes {
		s.reader.memory.Release(s.bytes - used)
		s.bytes = used
	}
}

func (s *share) release() { s.shrink(0) }
