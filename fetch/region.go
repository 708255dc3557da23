package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// regionOf is the records of a partition in one object, to be read without its
// footer: the ref repeats what the footer says of them, their CRC above all.
func regionOf(object string, ref partlog.Ref) cache.Region {
	return cache.Region{
		Object: object, Pos: int64(ref.Position), Len: int64(ref.Length),
		Check: func(b *cache.Block) ([]segment.SparseEntry, error) { return checkRegion(object, ref, b) },
	}
}

// checkRegion checks all that readers rely on: that the bytes are those which the
// journal's state knows of, and each batch as they would do themselves. It returns
// where reading may start.
func checkRegion(object string, ref partlog.Ref, b *cache.Block) ([]segment.SparseEntry, error) {
	data := b.Bytes()
	var sparse []segment.SparseEntry
	crc, offset, listed := uint32(0), ref.Base, 0
	for pos := 0; pos < len(data); {
		rest := data[pos:]
		h, err := batch.Parse(rest)
		if err = misplaced(h, err, ref, offset, int64(len(rest))); err == nil && !batch.CheckCRC(rest, h) {
			err = errBatchCRC
		}
		if err != nil {
			return nil, damaged(object, "at byte %d: %w", int(ref.Position)+pos, err)
		}
		if pos-listed >= sparseGap {
			sparse = append(sparse, segment.SparseEntry{RelOffset: uint32(offset - ref.Base), RelPosition: uint32(pos)})
			listed = pos
		}
		crc = batch.UpdateCRC(crc, rest, h)
		pos += h.Size()
		offset = h.LastOffset() + 1
	}
	switch {
	case offset != ref.Last+1:
		return nil, damaged(object, "its batches end at offset %d, not %d", offset-1, ref.Last)
	case crc != ref.CRC:
		return nil, damaged(object, "its bytes from %d on are not those that the journal's state has", ref.Position)
	}
	cache.Whole(b).Mark(0, int64(len(data)))
	return sparse, nil
}

var errBatchCRC = errors.New("a batch fails its CRC")

// misplaced says why a batch, as Parse returned it, does not belong where it is
// in the log: at offset, with left bytes until the end of the ref.
func misplaced(h batch.Header, err error, ref partlog.Ref, offset, left int64) error {
	switch {
	case left < batch.HeaderSize:
		return errors.New("the last batch is cut short")
	case err != nil && !errors.Is(err, batch.ErrShort):
		return err
	case int64(h.Size()) > left:
		return fmt.Errorf("a batch of %d bytes reaches beyond the partition's records", h.Size())
	case h.BaseOffset != offset || h.LastOffsetDelta < 0 || h.LastOffset() > ref.Last:
		return fmt.Errorf("a batch has offsets %d to %d, must start at %d", h.BaseOffset, h.LastOffset(), offset)
	case h.LeaderEpoch != ref.Epoch:
		return fmt.Errorf("a batch has leader epoch %d, not %d", h.LeaderEpoch, ref.Epoch)
	}
	return nil
}

// region is where the piece's records are.
func (p *piece) region() cache.Region { return regionOf(p.object, p.ref) }

// apart reports whether the piece is read as a region of its own, rather than
// through the blocks that all readers of its object share.
func (p *piece) apart() bool {
	if p.suspect {
		return false // batch by batch, through blocks that are kept
	}
	c, pos, n := p.reader.cfg.Cache, int64(p.ref.Position), int64(p.ref.Length)
	return c.HasRegion(p.object, pos, n) || p.replay && !c.InMemory(p.object, pos, n)
}

func (p *piece) loadRegion(ctx context.Context) error {
	r, err := p.reader.cfg.Cache.Region(ctx, p.region())
	if err != nil {
		return readError(err)
	}
	p.waited = r.Waited
	p.pos, p.offset = seek(r.Sparse, int64(p.ref.Position), p.ref.Base, p.from)
	p.use(r.Span)
	return nil
}
