package fetch

import (
	"cmp"
	"context"
	"slices"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// replayer returns the reader whom a position belongs to, if that is a replay: a
// sequential reader that has come from far behind the tail. A reader that catches
// up becomes one of the tail's.
func (f *fetch) replayer(p *position) *stream {
	s := f.reader.streams.find(p.Key, p.Offset)
	if s != nil && p.page == nil && len(p.refs) <= caughtUp {
		f.reader.streams.leave(s)
		return nil
	}
	return s
}

// isFar reports whether a position is read by a replay: it lies far from the tail,
// or its reader has come from there.
func (f *fetch) isFar(p *position) bool {
	return p.stream != nil || p.refs[0].Seq+f.reader.tailObjects <= p.journal.State.Head()
}

// apart reports whether the position's records, which are far, are read apart from
// the blocks that all readers share. Who first looks into the middle of an object
// may want but one batch of it.
func (p *position) apart() bool {
	first := &p.refs[0]
	return p.stream != nil || p.Offset <= first.Base || first.Length <= cache.BlockSize
}

// step is one object to read ahead for a reader.
type step struct {
	stream *stream
	seq    uint64
	planned
	ask cache.Ask
}

// fetchAhead has the objects read that the partitions' readers will need next,
// after those of this answer, and returns without waiting for them. Once one of
// the readers needs some, all of them read up to the same object: what partitions
// have in one object is read at once.
func (f *fetch) fetchAhead(ctx context.Context, plans []plan) {
	streams := f.reader.streams
	readers := streams.begin(plans)
	if len(readers) == 0 {
		return
	}
	horizon := uint64(0)
	for i := range readers {
		r := &readers[i]
		f.extend(ctx, r, func(ref partlog.Ref) bool {
			more := r.bytes > 0
			r.bytes -= int64(ref.Length)
			return more
		})
		if n := len(r.steps); n > 0 {
			horizon = max(horizon, r.steps[n-1].seq)
		}
	}
	var steps []step
	for i := range readers {
		f.extend(ctx, &readers[i], func(ref partlog.Ref) bool { return ref.Seq <= horizon })
		steps = append(steps, readers[i].steps...)
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.seq, b.seq) })
	streams.end(readers, steps[:f.readAhead(steps)])
}

// ahead is the planning of what to read ahead for one reader.
type ahead struct {
	*plan
	from    int64 // offset to go on from
	bytes   int64 // to read
	objects int   // at most
	steps   []step
}

// after is the offset after the objects that are expected to be needed now.
func (p *plan) after() int64 {
	if p.wanted == 0 {
		return p.Offset
	}
	return p.pieces[p.wanted-1].ref.Last + 1
}

// extend adds the next objects to what is read ahead, as long as there are more,
// and they are wanted.
func (f *fetch) extend(ctx context.Context, r *ahead, wanted func(partlog.Ref) bool) {
	for r.objects > 0 {
		refs, err := f.reader.refsFrom(ctx, r.journal, r.Key, r.from, min(r.objects, maxRefs))
		if err != nil {
			return // whoever comes there meets the error
		}
		for _, ref := range refs {
			if r.journal.holds(ref.Seq) || !wanted(ref) { // the leader has all that follow, too
				return
			}
			r.from = ref.Last + 1
			r.objects--
			object := segment.JournalKey(r.journal.id, ref.Seq)
			if f.reader.verdicts.known(place{object: object, position: ref.Position}) {
				continue
			}
			r.steps = append(r.steps, step{
				stream: r.stream, seq: ref.Seq, planned: planned{end: r.from, bytes: int64(ref.Length)},
				ask: cache.Ask{Region: regionOf(object, ref), For: &r.stream.ahead},
			})
		}
		if len(refs) == 0 {
			return
		}
	}
}

// readAhead has what is not in memory read, and returns how many steps that does.
func (f *fetch) readAhead(steps []step) (taken int) {
	var asks []cache.Ask
	var of []int // the step of each ask
	for i := range steps {
		if a := steps[i].ask; !f.reader.cfg.Cache.InMemory(a.Object, a.Pos, a.Len) {
			asks, of = append(asks, a), append(of, i)
		}
	}
	if n := f.reader.cfg.Cache.ReadAhead(asks); n < len(asks) {
		return of[n]
	}
	return len(steps)
}

// refsFrom looks up to max refs up, from the one that holds the offset on, in
// memory or in the page they are in. There are none from the high watermark on.
func (r *Reader) refsFrom(ctx context.Context, j journal, k partlog.Key, offset int64, max int) ([]partlog.Ref, error) {
	refs, page, _, ok := j.State.Find(k, offset, max)
	if !ok {
		return nil, errNotOpen
	}
	if page == nil {
		return refs, nil
	}
	all, err := r.page(ctx, j, page)
	return partlog.RefsFrom(all, offset, max), err
}

// holds reports whether the leader has the object in its memory.
func (j *journal) holds(seq uint64) bool {
	if j.Tail == nil {
		return false
	}
	_, ok := j.Tail.Object(seq)
	return ok
}
