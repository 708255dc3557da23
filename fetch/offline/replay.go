package offline

import (
	"context"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// Replay is the reading that a replay of partitions takes, as far as it is known before:
// the extents, and the GETs by which the reader gets them.
type Replay struct {
	Extents int64
	Objects int64 // that have records
	GETs    int64 // of records and index pages
	Bytes   int64 // of records
	Offsets int64

	objects map[segment.Name]struct{}
	end     end // of the region that was read last
}

// end is where a region ends.
type end struct {
	object   segment.Name
	position int64
	room     int64 // that is left in its GET
}

// Replay adds the part of a partition from first on and below end to r. Each partition is
// counted as if it was read alone.
func (b *Bucket) Replay(ctx context.Context, r *Replay, k partlog.Key, first, last int64) error {
	if r.objects == nil {
		r.objects = map[segment.Name]struct{}{}
	}
	r.end = end{}
	if first >= last {
		return nil
	}
	r.Offsets += last - first
	r.GETs += b.pagesOf(k, first, last)
	for e, err := range b.Reader.Extents(ctx, k, first) {
		if err != nil {
			return err
		}
		if e.Base >= last {
			break
		}
		r.add(&e, first, last)
	}
	r.Objects = int64(len(r.objects))
	return nil
}

// add counts an extent. Journal objects are read one region at a time; of an extent of
// which a part is wanted, about that part is read.
func (r *Replay) add(e *partlog.Extent, first, last int64) {
	r.Extents++
	r.objects[e.Object] = struct{}{}
	length := int64(e.Length)
	if all := e.Last + 1 - e.Base; first > e.Base || last <= e.Last {
		wanted := min(last, e.Last+1) - max(first, e.Base)
		length = int64(float64(length) * float64(wanted) / float64(all))
		length = max(length, 1)
	}
	r.Bytes += length
	position := int64(e.Position)
	if e.Object == r.end.object && position == r.end.position {
		joined := min(length, r.end.room)
		length -= joined
		r.end.room -= joined
		if length == 0 {
			r.end.position = position + int64(e.Length)
			return
		}
	}
	gets := (length + cache.MaxGet - 1) / cache.MaxGet
	r.GETs += gets
	r.end = end{object: e.Object, position: position + int64(e.Length), room: gets*cache.MaxGet - length}
}

// pagesOf is the number of index pages that have extents of the range.
func (b *Bucket) pagesOf(k partlog.Key, first, last int64) (n int64) {
	id, _ := b.locate(k)
	state := b.State(id)
	if state == nil {
		return 0
	}
	for first < last {
		extents, page, _, _ := state.FindFrom(k, first, 1024)
		switch {
		case page != nil:
			n++
			first = page.Last + 1
		case len(extents) == 0:
			return n
		default:
			first = extents[len(extents)-1].Last + 1
		}
	}
	return n
}
