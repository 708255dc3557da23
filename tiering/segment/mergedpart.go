package segment

import (
	"math"

	"github.com/varvelog/varve/tiering/batch"
)

// partWriter adds up the batches of the partition that a MergedWriter has open.
type partWriter struct {
	MergedPartition
	walker  batch.Walker
	untimed bool // the max timestamp of the last block cannot be known
}

func newPartWriter(p MergedPart, object ID, position uint32) *partWriter {
	return &partWriter{
		MergedPartition: MergedPartition{MergedPart: p, Object: object, Position: position},
		walker: batch.NewWalker(batch.Place{
			Length: math.MaxInt64, Base: p.From, Last: p.To - 1, Epoch: batch.AnyEpoch, Gaps: true,
		}),
	}
}

// check returns the header of b if it can be the next batch.
func (p *partWriter) check(b []byte) (batch.Header, error) {
	h, err := p.walker.Check(b)
	switch {
	case err != nil:
		return h, invalid("%v", err)
	case h.Size() != len(b):
		return h, invalid("a batch of %d bytes in %d", h.Size(), len(b))
	case h.Records < 0 || h.Records > 0 && h.Records-1 > h.LastOffsetDelta:
		return h, invalid("a batch has %d records and last offset delta %d", h.Records, h.LastOffsetDelta)
	case h.LeaderEpoch < 0 || len(p.Epochs) > 0 && h.LeaderEpoch < p.Epochs[len(p.Epochs)-1].Epoch:
		return h, invalid("batch at offset %d has leader epoch %d, lower than the one before", h.BaseOffset, h.LeaderEpoch)
	}
	return h, nil
}

// add adds a batch with the header h. newest is the greatest timestamp of its records, -1
// if there is none, and math.MaxInt64 if it is not known.
func (p *partWriter) add(b []byte, h *batch.Header, newest int64) {
	p.walker.Skip(h)
	n := len(p.Blocks)
	if n == 0 || int(p.Blocks[n-1].Length)+len(b) > blockBytes {
		p.Blocks = append(p.Blocks, Block{Position: p.Position + p.Length, First: h.BaseOffset, MaxTimestamp: -1})
		p.untimed = false
		n++
	}
	block := &p.Blocks[n-1]
	block.CRC = batch.UpdateCRC(block.CRC, b)
	block.Length += uint32(len(b))
	block.Last = h.LastOffset()
	if newest == math.MaxInt64 || p.untimed {
		block.MaxTimestamp, p.untimed = -1, true
	} else {
		block.MaxTimestamp = max(block.MaxTimestamp, newest)
	}
	if len(p.Epochs) == 0 || p.Epochs[len(p.Epochs)-1].Epoch != h.LeaderEpoch {
		p.Epochs = append(p.Epochs, batch.EpochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset})
	}
	p.Length += uint32(len(b))
	p.Records += uint64(h.Records)
	p.Batches++
}

// finish returns the partition as its section has it.
func (p *partWriter) finish() MergedPartition {
	for i := range p.Blocks {
		b := &p.Blocks[i]
		p.CRC = batch.AppendCRC(p.CRC, b.CRC, int(b.Length))
		p.Last = b.Last
	}
	p.MaxTimestamp = newestOf(p.Blocks)
	if len(p.Blocks) > 0 {
		p.First = p.Blocks[0].First
	}
	p.IndexLength = uint32(p.sectionSize())
	return p.MergedPartition
}
