package partlog

import (
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

const (
	checkpointVersion      = 4
	checkpointUntiered     = 3
	checkpointWithoutPages = 2 // of producers
	checkpointFixedSize    = 36
	checkpointFixedSizeV2  = 28 // of versions 1 and 2
	indexObjectSize        = 20
	partFixedSizeV1        = 100
	partFixedSize          = 108
	epochStartSize         = 12
	pagedChunkSize         = 32
	refChunkFixedSize      = 4
	producerFixedSize      = 20
	producerBatchSize      = 32
)

// Encode returns the payload of a checkpoint: the whole state at Head, as if
// Paged(planned, object) and PagedProducers(plan) had been called. planned is nil if no
// chunk is to be paged, and plan if no producers are. Equal states with equal chunks and pages
// have equal bytes. Only the caller of Apply may call it.
//
// Version 4 is of a journal with entries that are newer than version 3; its further fields
// are in checkpointtiering.go. Version 3 has pages of producers. Without them the version is 2,
// which programs before version 3 read, too.
//
//	 0  2  version, 2 to 4
//	 2  2  zero
//	 4  4  journal
//	 8  8  seq of the last object applied
//	16  4  its epoch
//	20  4  index objects
//	24  4  partitions
//	28  4  pages of producers; version 2 has neither this field nor the next
//	32  4  zero
//	36     the index objects, in the order in which the pages of producers, and then the
//	       partitions, name them:
//	    0 16  object id
//	   16  4  length of its payload
//	       the pages of producers, oldest first:
//	    0  4  index object, counted from 0
//	    4  4  position in its payload
//	    8  4  length
//	   12  4  CRC-32C
//	   16  4  producers
//	   20  4  zero
//	   24  8  producers of this page last used before this have expired since, unless a
//	          newer page or the partition has them; Unix milliseconds
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
//	          the idempotent producers that no page has as they are, as in a page
func (s *State) Encode(planned *Index, object segment.ID, plan *ProducerPlan) []byte {
	e := encoder{
		planned: planned, numbers: map[*indexObject]uint32{}, version: checkpointVersion,
		merged: map[*mergedObject]uint32{}, below: map[*part]mergedList{},
	}
	if planned != nil {
		e.object = planned.object(object)
	}
	e.planProducers(s, plan)
	switch {
	case s.tiering.used:
	case len(e.pages) > 0:
		e.version = checkpointUntiered
	default:
		e.version = checkpointWithoutPages
	}
	keys := s.keysLocked()
	size := checkpointFixedSize + len(e.pages)*producerPageRefSize
	for _, k := range keys {
		size += e.visit(s.parts[k])
	}
	e.w.B = make([]byte, 0, size+len(e.objects)*indexObjectSize)
	e.head(s, len(keys))
	for _, o := range e.objects {
		e.w.ID(o.id)
		e.w.U32(o.size)
		if e.version == checkpointVersion {
			e.w.U64(o.seq)
		}
	}
	for _, p := range e.pages {
		e.producerPage(p, &s.expiries)
	}
	if e.version == checkpointVersion {
		e.tiering(s)
	}
	for _, k := range keys {
		e.part(k, s.parts[k])
	}
	return e.w.B
}

func (e *encoder) head(s *State, parts int) {
	w := &e.w
	w.U16(e.version)
	w.Zeros(2)
	w.U32(s.journal)
	w.U64(s.head)
	w.U32(s.epoch)
	w.U32(uint32(len(e.objects)))
	w.U32(uint32(parts))
	if e.version >= checkpointUntiered {
		w.U32(uint32(len(e.pages)))
	}
	switch e.version {
	case checkpointUntiered:
		w.Zeros(4)
	case checkpointVersion:
		e.tieringHead(&s.tiering)
	}
}

// encoder writes a checkpoint.
type encoder struct {
	w       wire.Writer
	version uint16
	planned *Index
	object  *indexObject // of planned
	objects []*indexObject
	numbers map[*indexObject]uint32 // in objects

	merged      map[*mergedObject]uint32 // their numbers
	mergedOrder []*mergedObject
	below       map[*part]mergedList // as they are with the planned pages

	pages []*producerPage    // of producers
	paged map[*producer]bool // that are in planned pages as they are
}

// planProducers finds the pages of producers that the checkpoint names.
func (e *encoder) planProducers(s *State, plan *ProducerPlan) {
	for _, p := range s.producerPages {
		if p.live > 0 && (plan == nil || !plan.replaced[p]) {
			e.pages = append(e.pages, p)
		}
	}
	if plan != nil {
		objects := plan.indexObjects()
		e.paged = make(map[*producer]bool)
		for i := range plan.pages {
			page, n := plan.pages[i].page, len(e.paged)
			plan.pages[i].each(s, func(_ Key, _ int64, q *producer) { e.paged[q] = true })
			if page.object = objects[plan.pages[i].object]; len(e.paged) > n {
				e.pages = append(e.pages, &page)
			}
		}
	}
	for _, p := range e.pages {
		e.number(p.object)
	}
}

// changed returns the producers of a partition that are in no page as they are.
func (e *encoder) changed(p *part) []int64 {
	ids := p.producers.changedIDs()
	if len(e.paged) == 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return e.paged[p.producers.byID[id]] })
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
	for _, id := range e.changed(p) {
		size += producerFixedSize + len(p.producers.byID[id].batches)*producerBatchSize
	}
	return size + e.visitMerged(p)
}

func (e *encoder) number(o *indexObject) {
	if _, ok := e.numbers[o]; !ok {
		e.numbers[o] = uint32(len(e.objects))
		e.objects = append(e.objects, o)
	}
}

func (e *encoder) part(k Key, p *part) {
	w, l, planned, changed := &e.w, &p.refs, e.planned.of(p), e.changed(p)
	w.ID(k.Topic)
	w.I32(k.Index)
	w.I32(p.epochBase)
	w.I64(p.start)
	w.I64(l.start)
	w.I64(p.bytes)
	w.Raw(l.hash[:])
	w.U8(flag(p.sealed))
	w.U8(flag(p.dropped))
	w.Zeros(2)
	w.I32(p.sealedEpoch)
	w.U32(uint32(len(p.epochs)))
	w.U32(uint32(len(l.pages) + len(planned)))
	w.U32(uint32(len(l.chunks) - len(planned)))
	w.U32(uint32(len(changed)))
	w.Zeros(4)
	if e.version == checkpointVersion {
		e.tiered(p)
	}
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
	for _, id := range changed {
		appendProducer(w, id, p.producers.byID[id])
	}
	if e.version == checkpointVersion {
		e.mergedChunks(p)
	}
}

func (e *encoder) producerPage(p *producerPage, x *expiries) {
	w := &e.w
	w.U32(e.numbers[p.object])
	w.U32(p.position)
	w.U32(p.length)
	w.U32(p.crc)
	w.U32(p.total)
	w.Zeros(4)
	w.I64(p.expiredBefore(x))
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
