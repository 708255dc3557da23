package fetch

import (
	"context"
	"math"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/segment"
)

// regionOf is the region of an extent, which lies at a range. It is read without the
// object's footer, because the extent has the CRC of the records.
func regionOf(at cache.Range, e extent) cache.Region {
	object := at.Object
	return cache.Region{
		Range: at,
		Check: func(b *cache.Block) ([]segment.SparseEntry, error) { return checkRegion(object, e, b) },
	}
}

// checkRegion checks everything that readers rely on: the CRC of all bytes, and each
// batch as readers would check it themselves. It returns where reading may start.
func checkRegion(object string, e extent, b *cache.Block) ([]segment.SparseEntry, error) {
	data := b.Bytes()
	var sparse []segment.SparseEntry
	crc, listed := uint32(0), 0
	walk := batch.NewWalker(e.place())
	for walk.Left() > 0 {
		pos := int(walk.Position()) - int(e.Position)
		h, err := walk.Check(data[pos:])
		if err != nil {
			return nil, damaged(object, "%w", err)
		}
		if offset := h.BaseOffset - e.Base; pos-listed >= sparseGap && offset <= math.MaxUint32 {
			sparse = append(sparse, segment.SparseEntry{RelOffset: uint32(offset), RelPosition: uint32(pos)})
			listed = pos
		}
		crc = batch.UpdateCRC(crc, data[pos:pos+h.Size()])
		walk.Skip(&h)
	}
	if err := walk.End(); err != nil {
		return nil, damaged(object, "%w", err)
	}
	if crc != e.CRC {
		return nil, damaged(object, "its bytes from %d on do not have the CRC that the journal's state has", e.Position)
	}
	cache.Whole(b).Mark(0, int64(len(data)))
	return sparse, nil
}

// region is the region of the piece's records.
func (p *piece) region() cache.Region { return regionOf(p.bytesAt(), *p.extent) }

// apart reports whether the piece is read as a region of its own, rather than
// through the blocks that all readers of its object share.
func (p *piece) apart() bool {
	switch {
	case p.extent.Gaps():
		return true // its batches are not read alone
	case p.suspect:
		return false // batch by batch, through blocks that are kept
	}
	c, at := p.reader.cfg.Cache, p.bytesAt()
	return c.HasRegion(at) || p.replay && !c.InMemory(at)
}

func (p *piece) loadRegion(ctx context.Context) error {
	r, err := p.reader.cfg.Cache.Region(ctx, p.region())
	if err != nil {
		return readError(err)
	}
	p.waited = r.Waited
	p.walk.MoveTo(seek(r.Sparse, &p.extent.Extent, p.from))
	p.use(r.Span)
	return nil
}
