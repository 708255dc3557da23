package fetch

import (
	"context"
	"errors"

	"github.com/varvelog/varve/fetch/cache"
	"github.com/varvelog/varve/tiering/batch"
	"github.com/varvelog/varve/tiering/partlog"
	"github.com/varvelog/varve/tiering/segment"
)

// sectionOf is where the section of an extent in a merged segment lies.
func sectionOf(object string, e *partlog.Extent) cache.Range {
	return cache.Range{Object: object, Pos: int64(e.Position) + int64(e.Length), Len: int64(e.IndexLength)}
}

// section reads the section of an extent in a merged segment. If it is damaged, it is made
// again from the batches, which the state has the CRC of.
func (r *Reader) section(ctx context.Context, k partlog.Key, e *partlog.Extent) (*segment.MergedPartition, error) {
	at := sectionOf(e.Object.Key(), e)
	where := place{object: at.Object, position: uint32(at.Pos)}
	if _, err := r.verdicts.blocked(where, e.Base); err != nil {
		return nil, err
	}
	p, err := r.readSection(ctx, at, k, e)
	for again := 0; again < 2 && isDamage(err) && !errors.Is(err, errMissing); again++ {
		if again == 0 { // the damage may have happened on the way
			p, err = r.readSection(ctx, at, k, e)
			continue
		}
		p, err = r.cfg.Cache.MadeSection(ctx, at, func(read func(pos, n int64) ([]byte, error)) (*segment.MergedPartition, error) {
			return madeSection(at.Object, k, e, read)
		})
		err = readError(err)
	}
	if err == nil && r.verdicts.known(where) {
		r.verdicts.sound(where, e.Base)
	}
	return p, r.noted(where, k, e.Base, e.Last, err)
}

func (r *Reader) readSection(ctx context.Context, at cache.Range, k partlog.Key, e *partlog.Extent) (*segment.MergedPartition, error) {
	p, err := r.cfg.Cache.Section(ctx, at, func(p *segment.MergedPartition) error {
		if !e.FitsSection(k, p) {
			return damaged(at.Object, "the section at byte %d does not fit the extent that the journal's state has of %v", at.Pos, k)
		}
		return nil
	})
	return p, readError(err)
}

// madeSection reads all batches of an extent, and makes the fields of its section that
// readers need. It holds the bytes of one GET and of one batch.
func madeSection(object string, k partlog.Key, e *partlog.Extent, read func(pos, n int64) ([]byte, error)) (*segment.MergedPartition, error) {
	p := &segment.MergedPartition{MergedPart: segment.MergedPart{Topic: k.Topic, Index: k.Index, From: e.Base, To: e.Last + 1}, Last: -1}
	walk, crc := batch.NewWalker(e.Place()), uint32(0)
	var held []byte // from the walk's position on
	for next := int64(e.Position); walk.Left() > 0; {
		h, err := walk.Next(held)
		if err != nil && !errors.Is(err, batch.ErrShort) {
			return nil, damaged(object, "%w", err)
		}
		if err != nil || len(held) < h.Size() {
			n := min(cache.MaxGet, int64(e.Position)+int64(e.Length)-next)
			if n == 0 {
				return nil, damaged(object, "%w", err)
			}
			more, err := read(next, n)
			if err != nil {
				return nil, err
			}
			held, next = append(held[:len(held):len(held)], more...), next+n
			continue
		}
		b := held[:h.Size()]
		if _, err := walk.Check(b); err != nil {
			return nil, damaged(object, "%w", err)
		}
		addBlock(p, walk.Position(), b, &h)
		crc = batch.UpdateCRC(crc, b)
		held = held[h.Size():]
		walk.Skip(&h)
	}
	if crc != e.CRC {
		return nil, damaged(object, "its bytes from %d on do not have the CRC that the journal's state has", e.Position)
	}
	return p, nil
}

// addBlock adds a batch to the blocks of a section.
func addBlock(p *segment.MergedPartition, position int64, b []byte, h *batch.Header) {
	if n := len(p.Blocks); n == 0 || int64(p.Blocks[n-1].Length) >= cache.BlockSize {
		p.Blocks = append(p.Blocks, segment.Block{Position: uint32(position), First: h.BaseOffset, MaxTimestamp: -1})
	}
	block := &p.Blocks[len(p.Blocks)-1] // its time stays unknown: readers look into it
	block.Length += uint32(len(b))
	block.CRC = batch.UpdateCRC(block.CRC, b)
	block.Last, p.Last = h.LastOffset(), h.LastOffset()
	if n := len(p.Epochs); n == 0 || p.Epochs[n-1].Epoch != h.LeaderEpoch {
		p.Epochs = append(p.Epochs, batch.EpochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset})
	}
}
