package fetch

import (
	"cmp"
	"context"
	"slices"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// replayer returns the reader that a position belongs to, if that reader replays: it
// reads in sequence and has come from far behind the tail. A reader that catches up
// becomes a reader of the tail.
func (f *fetch) replayer(p *position) *stream {
	s := f.reader.streams.find(p.Key, p.Offset)
	if s != nil && p.page == nil && len(p.extents) <= caughtUp && p.extents[len(p.extents)-1].Last+1 >= p.result.HighWatermark {
		f.reader.streams.leave(s)
		return nil
	}
	return s
}

// isFar reports whether a position is read by a replay: it lies far from the tail,
// or its reader has come from there.
func (f *fetch) isFar(p *position) bool {
	return p.stream != nil || p.journal.State.Behind(&p.extents[0].Extent) >= f.reader.tailObjects
}

// apart reports whether the position's records, which are far, are read apart from the
// blocks that all readers share. A reader that starts in the middle of an object may want
// only one batch of it.
func (p *position) apart() bool {
	first := &p.extents[0]
	return p.stream != nil || p.Offset <= first.Base || first.Length <= cache.BlockSize
}

// step is one extent to read ahead for a reader.
type step struct {
	stream *stream
	object segment.Name
	order  uint64 // of the object
	planned
	ask cache.Ask
}

// fetchAhead starts to read the objects that the partitions' readers will need after this
// answer, and returns without waiting for them. When one of the readers needs more, all of
// them read up to the same object, so that one GET reads the records of several
// partitions.
func (f *fetch) fetchAhead(ctx context.Context, plans []plan) {
	streams := f.reader.streams
	readers := streams.begin(plans)
	if len(readers) == 0 {
		return
	}
	horizon, shared := uint64(0), map[segment.Name]bool{}
	for i := range readers {
		r := &readers[i]
		f.extend(ctx, r, r.fills)
		if n := len(r.steps); n > 0 {
			horizon = max(horizon, r.steps[n-1].order)
		}
		for j := range r.steps {
			if object := r.steps[j].object; object.Kind == segment.KindMerged && !object.Own() {
				shared[object] = true
			}
		}
	}
	var steps []step
	for i := range readers {
		f.extend(ctx, &readers[i], func(e *extent) bool {
			if e.Gaps() {
				return shared[e.Object]
			}
			return e.Object.Order() <= horizon
		})
		steps = append(steps, readers[i].steps...)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.order, b.order) })
	streams.end(readers, steps[:f.readAhead(steps)])
}

// ahead is the plan of how to read ahead for one reader.
type ahead struct {
	*plan
	from    int64 // offset to go on from
	bytes   int64 // to read
	objects int   // at most
	steps   []step
	get     cache.Range // that the last steps in a merged segment are read by
}

// fills reports whether to read an extent ahead: until there are enough bytes, and then the
// rest of a GET in a merged segment.
func (r *ahead) fills(e *extent) bool {
	size := int64(e.Length)
	next := e.Gaps() && r.get.Pos+r.get.Len == int64(e.Position) && r.get.Len+size <= cache.MaxGet &&
		len(r.steps) > 0 && r.steps[len(r.steps)-1].object == e.Object
	if r.bytes <= 0 && !(next && r.stream.window >= cache.MaxGet) {
		return false
	}
	if !next {
		r.get = cache.Range{Pos: int64(e.Position)}
	}
	r.get.Len += size
	r.bytes -= size
	return true
}

// after returns the offset after the objects that are expected to be needed now.
func (p *plan) after() int64 {
	if p.wanted == 0 {
		return p.Offset
	}
	return p.pieces[p.wanted-1].extent.Last + 1
}

// extend plans to read the next extents ahead, as long as there are more, and they
// are wanted.
func (f *fetch) extend(ctx context.Context, r *ahead, wanted func(*extent) bool) {
	for r.objects > 0 {
		extents, err := f.reader.piecesFrom(ctx, r.journal, r.Key, r.from, min(r.objects, maxExtents), max(r.bytes, cache.MaxGet))
		if err != nil {
			return // the reader that comes there gets the error
		}
		for i := range extents {
			e := &extents[i]
			if r.journal.holds(e.Object) || !wanted(e) { // the leader has all that follow, too
				return
			}
			r.from = e.Last + 1
			r.objects--
			at := rangeOf(e.Object.Key(), &e.Extent)
			if e.Length == 0 || f.reader.verdicts.known(placeOf(at.Object, &e.Extent)) {
				continue
			}
			r.steps = append(r.steps, step{
				stream: r.stream, object: e.Object, order: e.Object.Order(), planned: planned{end: r.from, bytes: at.Len},
				ask: cache.Ask{Region: regionOf(at, *e), For: &r.stream.ahead},
			})
		}
		if len(extents) == 0 {
			return
		}
	}
}

// readAhead starts to read the steps that are not in memory, and returns how many steps
// are done then.
func (f *fetch) readAhead(steps []step) (taken int) {
	var asks []cache.Ask
	var of []int // the step of each ask
	for i := range steps {
		if a := steps[i].ask; !f.reader.cfg.Cache.InMemory(a.Range) {
			asks, of = append(asks, a), append(of, i)
		}
	}
	if n := f.reader.cfg.Cache.ReadAhead(asks); n < len(asks) {
		return of[n]
	}
	return len(steps)
}

// extentsFrom returns up to max extents, from the one that holds the offset on, from
// memory or from the page that has it. There are none from the high watermark on.
func (r *Reader) extentsFrom(ctx context.Context, j journal, k partlog.Key, offset int64, max int) ([]partlog.Extent, error) {
	extents, page, _, ok := j.State.Find(k, offset, max)
	if !ok {
		return nil, errNotOpen
	}
	if page == nil {
		return extents, nil
	}
	all, err := r.page(ctx, j, page)
	if err != nil {
		return nil, err
	}
	return all.From(offset, max), nil
}

// piecesFrom is extentsFrom with the blocks of extents that are read by blocks, to give about
// so many bytes.
func (r *Reader) piecesFrom(ctx context.Context, j journal, k partlog.Key, offset int64, max int, bytes int64) ([]extent, error) {
	found, err := r.extentsFrom(ctx, j, k, offset, max)
	if err != nil {
		return nil, err
	}
	extents, err := r.expand(ctx, k, wrapped(found), offset, max, bytes)
	if len(extents) > 0 {
		return extents, nil // the caller meets the error when it goes on
	}
	return nil, err
}

// holds reports whether the leader has the object in its memory.
func (j *journal) holds(object segment.Name) bool {
	if j.Tail == nil {
		return false
	}
	b, ok := j.Tail.Object(object)
	if ok {
		b.Release()
	}
	return ok
}
