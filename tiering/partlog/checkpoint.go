package partlog

import (
	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

const (
	checkpointVersion = 2

	checkpointFixedSize = 28
	indexObjectSize     = 20
	partFixedSizeV1     = 100
	partFixedSize       = 108
	epochStartSize      = 12
	pagedChunkSize      = 32
	refChunkFixedSize   = 4
	producerFixedSize   = 20
	producerBatchSize   = 32
)

// Encode returns the payload of a checkpoint: the whole state at Head, as if
// Paged(planned, object) had been called; planned is nil if no chunk is to be paged. Equal
// states with equal chunks have equal bytes. Only the caller of Apply may call it.
//
//	 0  2  version, 2
//	 2  2  zero
//	 4  4  journal
//	 8  8  seq of the last object applied
//	16  4  its epoch
//	20  4  index objects
//	24  4  partitions
//	28     the index objects, in the order in which the partitions name them:
//	    0 16  object id
//	   16  4  length of its payload
//	       the partitions, in the order of topic id and number:
//	    0 16  topic id
//	   16  4  number
//	   20  4  epoch base
//	   24  8  start offset
//	   32  8  offset at which the pages start, not after it; version 1 has no such
//	          field, they are the same there
//	   40  8  bytes of all batches, also of deleted ones
//	   48 32  hash of all refs there ever were
//	   80  1  1 if it is sealed
//	   81  3  zero
//	   84  4  leader epoch it was sealed in, or zero
//	   88  4  leader epochs
//	   92  4  pages
//	   96  4  chunks of refs
//	  100  4  idempotent producers
//	  104  4  zero
//	  108     the leader epochs:
//	        0  4  leader epoch
//	        4  8  its first offset, from the start offset on
//	          the pages:
//	        0  4  index object, counted from 0
//	        4  4  position in its payload
//	        8  4  length
//	       12  4  CRC-32C
//	       16  8  last offset
//	       24  8  max timestamp, Unix milliseconds
//	          the chunks of refs, where the pages end:
//	        0  4  refs, 1 to 256
//	        4     the refs, as in a page
//	          the idempotent producers, by id:
//	        0  8  id
//	        8  2  epoch
//	       10  1  batches, 1 to 5
//	       11  1  zero
//	       12  8  last used, Unix milliseconds
//	       20     the batches, oldest first:
//	            0  4  first sequence number
//	            4  4  last sequence number
//	            8  8  base offset
//	           16  8  last offset
//	           24  8  max timestamp, Unix milliseconds
func (s *State) Encode(planned *Index, object segment.ID) []byte {
	e := encoder{planned: planned, numbers: map[*indexObject]uint32{}}
	if planned != nil {
		e.object = &indexObject{id: object, size: uint32(len(planned.payload))}
	}
	keys := s.keysLocked()
	size := checkpointFixedSize
	for _, k := range keys {
		size += e.visit(s.parts[k])
	}
	w := &e.w
	w.B = make([]byte, 0, size+len(e.objects)*indexObjectSize)
	w.U16(checkpointVersion)
	w.Zeros(2)
	w.U32(s.journal)
	w.U64(s.head)
	w.U32(s.epoch)
	w.U32(uint32(len(e.objects)))
	w.U32(uint32(len(keys)))
	for _, o := range e.objects {
		w.ID(o.id)
		w.U32(o.size)
	}
	for _, k := range keys {
		e.part(k, s.parts[k])
	}
	return w.B
}

// encoder writes a checkpoint.
type encoder struct {
	w       wire.Writer
	planned *Index
	object  *indexObject // of planned
	objects []*indexObject
	numbers map[*indexObject]uint32 // in objects
}

// visit numbers the index objects of a partition and returns the bytes it takes.
func (e *encoder) visit(p *part) int {
	l, planned := &p.refs, e.planned.of(p)
	for i := range l.pages {
		e.number(l.pages[i].object)
	}
	if len(planned) > 0 {
		e.number(e.object)
	}
	size := partFixedSize + len(p.epochs)*epochStartSize + (len(l.pages)+len(planned))*pagedChunkSize
	for _, c := range l.chunks[len(planned):] {
		size += refChunkFixedSize + len(c.refs)*refSize
	}
	for _, q := range p.producers.byID {
		size += producerFixedSize + len(q.batches)*producerBatchSize
	}
	return size
}

func (e *encoder) number(o *indexObject) {
	if _, ok := e.numbers[o]; !ok {
		e.numbers[o] = uint32(len(e.objects))
		e.objects = append(e.objects, o)
	}
}

func (e *encoder) part(k Key, p *part) {
	w, l, planned := &e.w, &p.refs, e.planned.of(p)
	w.ID(k.Topic)
	w.I32(k.Index)
	w.I32(p.epochBase)
	w.I64(p.start)
	w.I64(l.start)
	w.I64(p.bytes)
	w.Raw(l.hash[:])
	sealed := uint8(0)
	if p.sealed {
		sealed = 1
	}
	w.U8(sealed)
	w.Zeros(3)
	w.I32(p.sealedEpoch)
	w.U32(uint32(len(p.epochs)))
	w.U32(uint32(len(l.pages) + len(planned)))
	w.U32(uint32(len(l.chunks) - len(planned)))
	w.U32(uint32(p.producers.Len()))
	w.Zeros(4)
	for _, h := range p.epochs {
		w.I32(h.epoch)
		w.I64(h.start)
	}
	for i := range l.pages {
		e.page(&l.pages[i], l.pages[i].object)
	}
	for i := range planned {
		e.page(&planned[i], e.object)
	}
	for _, c := range l.chunks[len(planned):] {
		w.U32(uint32(len(c.refs)))
		for _, r := range c.refs {
			appendRef(w, r)
		}
	}
	p.producers.Each(e.producer)
}

func (e *encoder) page(c *pagedChunk, o *indexObject) {
	w := &e.w
	w.U32(e.numbers[o])
	w.U32(c.position)
	w.U32(c.length)
	w.U32(c.crc)
	w.I64(c.last)
	w.I64(c.max)
}

func (e *encoder) producer(p segment.Producer, usedMs int64) {
	w := &e.w
	w.I64(p.ID)
	w.I16(p.Epoch)
	w.U8(uint8(len(p.Batches)))
	w.U8(0)
	w.I64(usedMs)
	for _, b := range p.Batches {
		w.I32(b.FirstSequence)
		w.I32(b.LastSequence)
		w.I64(b.BaseOffset)
		w.I64(b.LastOffset)
		w.I64(b.Timestamp)
	}
}
