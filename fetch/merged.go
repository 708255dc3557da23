package fetch

import (
	"context"
	"errors"
	"math"
	"sort"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// extent is an extent as it is read: of the state, or a block of one in a merged segment.
// An extent without bytes is a gap up to its last offset.
type extent struct {
	partlog.Extent
	epochs []batch.EpochStart // of the merged segment, if its section is known
}

// place is the place of the batches, for a walk through them.
func (e *extent) place() batch.Place {
	p := e.Extent.Place()
	p.Epochs = e.epochs
	return p
}

// upTo is the greatest timestamp that a record may have.
func (e *extent) upTo() int64 {
	if e.MaxTimestamp < 0 {
		return math.MaxInt64
	}
	return e.MaxTimestamp
}

// wholeExtent is the size up to which an extent of a merged segment is read as a whole, by
// the CRC that the state has. A larger one is read by blocks, each by the CRC that the
// section has. Batches are not read alone: a gap would hide a wrong offset in a header,
// which no batch's CRC covers.
const wholeExtent = 2 * cache.BlockSize

// inBlocks reports whether an extent has to be replaced by its blocks.
func (e *extent) inBlocks() bool { return e.Gaps() && e.IndexLength > 0 && e.Length > wholeExtent }

func anyInBlocks(extents []extent) bool {
	for i := range extents {
		if extents[i].inBlocks() {
			return true
		}
	}
	return false
}

// noted notes that offsets cannot be read, if err is damage. A missing object is not noted:
// it may have been deleted.
func (r *Reader) noted(at place, k partlog.Key, first, last int64, err error) error {
	if isDamage(err) && !errors.Is(err, errMissing) {
		r.verdicts.found(at, Damage{Object: at.object, Key: k, First: first, Last: last, Err: err})
	}
	return r.missing(at, k, first, last, err)
}

// blocksOf appends the blocks of an extent to out, from the one that has a batch at offset
// or after it, n at most. If there is none, it appends the gap.
func blocksOf(out []extent, e *partlog.Extent, p *segment.MergedPartition, offset int64, n int) []extent {
	first := sort.Search(len(p.Blocks), func(i int) bool { return p.Blocks[i].Last >= offset })
	for i := first; i < min(len(p.Blocks), first+n); i++ {
		out = append(out, blockOf(e, p, i))
	}
	if first == len(p.Blocks) {
		gap := extent{Extent: *e}
		gap.Base, gap.Position, gap.Length = p.Last+1, e.Position+e.Length, 0
		out = append(out, gap)
	}
	return out
}

// blockOf is block i of an extent. It answers for the gap before it, too, and the last one
// for the gap after it.
func blockOf(e *partlog.Extent, p *segment.MergedPartition, i int) extent {
	b := &p.Blocks[i]
	out := extent{Extent: *e, epochs: p.Epochs}
	out.Position, out.Length, out.CRC, out.MaxTimestamp = b.Position, b.Length, b.CRC, b.MaxTimestamp
	out.IndexLength, out.Last = 0, b.Last
	if i > 0 {
		out.Base = p.Blocks[i-1].Last + 1
	}
	if i == len(p.Blocks)-1 {
		out.Last = e.Last
	}
	return out
}

// wrapped returns extents of the state as they are.
func wrapped(extents []partlog.Extent) []extent {
	out := make([]extent, len(extents))
	for i := range extents {
		out[i].Extent = extents[i]
	}
	return out
}

// expand replaces the extents that are read by blocks by these, from an offset on: n at
// most, and no more than give about so many bytes. Sections are read several at a time.
// With an error it returns the extents before it.
func (r *Reader) expand(ctx context.Context, k partlog.Key, extents []extent, offset int64, n int, bytes int64) ([]extent, error) {
	if !anyInBlocks(extents) {
		return extents, nil
	}
	extents = extents[:enough(extents, offset, bytes)]
	sections, errs := r.sections(ctx, k, extents)
	var out []extent
	for i := range extents {
		if errs[i] != nil || len(out) == n || bytes <= 0 {
			return out, errs[i]
		}
		start := len(out)
		if p := sections[i]; p == nil {
			out = append(out, extents[i])
		} else {
			out = blocksOf(out, &extents[i].Extent, p, offset, n-start)
		}
		out = out[:start+enough(out[start:], offset, bytes)]
		for j := start; j < len(out); j++ {
			bytes -= available(&out[j].Extent, offset)
		}
	}
	return out, nil
}

// sections reads the sections of the extents that are read by blocks.
func (r *Reader) sections(ctx context.Context, k partlog.Key, extents []extent) ([]*segment.MergedPartition, []error) {
	sections, errs := make([]*segment.MergedPartition, len(extents)), make([]error, len(extents))
	var needed []int
	for i := range extents {
		if extents[i].inBlocks() {
			needed = append(needed, i)
		}
	}
	parallel(r.cfg.Concurrency, len(needed), func(i int) {
		at := needed[i]
		sections[at], errs[at] = r.section(ctx, k, &extents[at].Extent)
	})
	return sections, errs
}

// enough returns how many of the extents it takes to give about so many bytes from an
// offset on.
func enough(extents []extent, offset, bytes int64) (n int) {
	for n < len(extents) && bytes > 0 {
		bytes -= available(&extents[n].Extent, offset)
		n++
	}
	return n
}
