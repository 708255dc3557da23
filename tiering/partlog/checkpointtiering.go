package partlog

import "math"

const (
	checkpointFixedSizeV4 = 72
	indexObjectSizeV4     = 28
	partFixedSizeV4       = 196
	intentFixedSize       = 20
	intentItemSize        = 48
	unreleasedSize        = 48
	garbageSize           = 56
	garbageSeqsSize       = 28
	mergedChunkFixedSize  = 4
	mergedPageRefSize     = 64
)

// tieringHead writes the rest of the head of a checkpoint of version 4, behind the number of
// pages of producers:
//
//	32  4  merged objects
//	36  8  seq below which objects are judged
//	44  4  epoch in force there
//	48  4  intents
//	52  4  unreleased objects
//	56  4  garbage objects
//	60  4  garbage ranges of seqs
//	64  4  loose seqs: no extent names them any more, and no Release has
//	68  4  seqs from the judged one on with records that were deleted before they were
//	       merged, and those between these
//	72     the index objects, each with the seq in its key (8) or zero behind it
//	       the pages of producers
//	       the lists that encoder.tiering writes
//	       the partitions
func (e *encoder) tieringHead(t *tiering) {
	w := &e.w
	w.U32(uint32(len(e.mergedOrder)))
	w.U64(t.judged.Seq)
	w.U32(t.judged.Epoch)
	w.U32(uint32(len(t.intents)))
	w.U32(uint32(len(t.unreleased)))
	w.U32(uint32(len(t.garbage)))
	w.U32(uint32(len(t.seqs)))
	w.U32(uint32(len(t.looseSeqs())))
	n := uint64(0)
	if t.unmerged > 0 {
		n = min(t.unmerged+1-t.judged.Seq, math.MaxUint32)
	}
	w.U32(uint32(n))
}

// tiering writes the lists of a checkpoint of version 4 that come before the partitions:
//
//	the merged objects, in the order in which the partitions name them
//	the intents, in the order of their jobs:
//	  0 16  job
//	 16  4  objects
//	 20     the objects, in the order of their ids:
//	   0 44  segment name
//	  44  1  1 if a Result has put it in place
//	  45  3  zero
//	the unreleased objects, in the order of their ids:
//	  0 44  segment name
//	 44  4  bytes
//	the garbage objects, in the order of their ids:
//	  0 44  segment name
//	 44  1  class
//	 45  1  1 if an intent that ended has named it, and no Release
//	 46  1  1 if it was deleted once
//	 47  1  zero
//	 48  8  time since when, Unix milliseconds
//	the garbage ranges of seqs, in their order:
//	  0  8  first
//	  8  8  last
//	 16  1  class
//	 17  3  zero
//	 20  8  time since when, Unix milliseconds
//	the loose seqs, of 8 bytes each, in their order
func (e *encoder) tiering(s *State) {
	w, t := &e.w, &s.tiering
	for _, o := range e.mergedOrder {
		o.append(w)
	}
	for _, job := range sortedIDs(t.intents) {
		objects := t.intents[job].objects
		w.ID(job)
		w.U32(uint32(len(objects)))
		for _, id := range sortedIDs(objects) {
			appendName(w, objects[id].Name)
			w.U8(flag(objects[id].Placed))
			w.Zeros(3)
		}
	}
	for _, id := range sortedIDs(t.unreleased) {
		appendName(w, t.unreleased[id].Name)
		w.U32(t.unreleased[id].Bytes)
	}
	for _, id := range sortedIDs(t.garbage) {
		g := t.garbage[id]
		appendName(w, g.Name)
		w.U8(uint8(g.Class))
		w.U8(flag(g.Ended))
		w.U8(flag(g.Deleted))
		w.Zeros(1)
		w.I64(g.SinceMs)
	}
	for _, g := range t.seqs {
		w.U64(g.Seqs.First)
		w.U64(g.Seqs.Last)
		w.U8(uint8(g.Class))
		w.Zeros(3)
		w.I64(g.SinceMs)
	}
	for _, seq := range t.looseSeqs() {
		w.U64(seq)
	}
}

// visitMerged numbers the objects of the merged extents of a partition, and returns the
// bytes that these take.
func (e *encoder) visitMerged(p *part) int {
	if e.version != checkpointVersion {
		return 0
	}
	below := p.below
	if e.planned != nil {
		below = below.paged(e.planned.merged[p], e.object)
	}
	e.below[p] = below
	size := partFixedSizeV4 - partFixedSize
	for i := range below.chunks {
		c := &below.chunks[i]
		size += mergedChunkFixedSize + len(c.refs)*(pieceSize+mergedSize)
		if c.page != nil {
			e.number(c.page.object)
			size += mergedPageRefSize
		}
		for i := range c.refs {
			o := c.refs[i].object
			if _, ok := e.merged[o]; o != nil && !ok {
				e.merged[o] = uint32(len(e.mergedOrder))
				e.mergedOrder = append(e.mergedOrder, o)
			}
		}
	}
	return size
}

// tiered writes the rest of the fixed part of a partition of version 4:
//
//	108  8  merged: from it on the refs count
//	116  8  freed: no extent that ends before it is kept
//	124  8  bytes of the journal ranges that were merged
//	132  8  cleaned
//	140  8  time of that, Unix milliseconds
//	148  8  offset below which tombstones may be missing
//	156 32  hash of the merged extents
//	188  4  chunks of merged extents
//	192  4  zero
//
// Byte 81 is 1 if the partition is dropped.
func (e *encoder) tiered(p *part) {
	w := &e.w
	w.I64(p.merged)
	w.I64(p.freed)
	w.I64(p.sourced)
	w.I64(p.cleaned)
	w.I64(p.cleanedMs)
	w.I64(p.tombstonesBelow)
	w.Raw(p.below.hash[:])
	w.U32(uint32(len(e.below[p].chunks)))
	w.Zeros(4)
}

// mergedChunks writes the chunks of merged extents of a partition, behind its producers:
//
//	0  4  extents, zero if they lie in a page
//	4     the extents, each a piece; or of the page:
//	    0  4  index object, counted from 0
//	    4  4  position in its payload
//	    8  4  length
//	   12  4  CRC-32C
//	   16  8  first offset that is not replaced
//	   24  8  last offset that is not replaced
//	   32  8  first offset of the page
//	   40  8  last offset of the page
//	   48  8  max timestamp of the page, Unix milliseconds
//	   56  8  bytes of batches; those of all chunks of a page are in the first one
func (e *encoder) mergedChunks(p *part) {
	w := &e.w
	for _, c := range e.below[p].chunks {
		w.U32(uint32(len(c.refs)))
		for i := range c.refs {
			number := uint32(ofJournal)
			if o := c.refs[i].object; o != nil {
				number = e.merged[o]
			}
			c.refs[i].append(w, number)
		}
		if g := c.page; g != nil {
			w.U32(e.numbers[g.object])
			w.U32(g.position)
			w.U32(g.length)
			w.U32(g.crc)
			w.I64(c.first)
			w.I64(c.last)
			w.I64(g.base)
			w.I64(g.last)
			w.I64(g.max)
			w.I64(c.bytes)
		}
	}
}
