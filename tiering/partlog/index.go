package partlog

import (
	"cmp"
	"slices"

	"github.com/varvelog/varve/tiering/segment"
	"github.com/varvelog/varve/tiering/wire"
)

// MaxIndexPayload bounds the payload of an index object, in bytes.
const MaxIndexPayload = 8 << 20

// Index is a planned index object: the chunks that shall lie in it.
type Index struct {
	payload []byte
	journal uint32
	seq     uint64 // of the checkpoint, in the key of the object; 0: the key has the old form
	parts   map[*part]plannedPages
	merged  map[*part][]mergedPages
	more    bool
}

// plannedPages holds chunks of one partition that follow each other, without the object
// they shall lie in.
type plannedPages struct {
	first int // number of the first chunk
	pages []pagedChunk
}

// Payload returns the body of the index object, at most MaxIndexPayload bytes: the pages
// back to back.
func (ix *Index) Payload() []byte { return ix.payload }

// Name returns the name of the index object, once it has an id. If it has a seq, the object
// must be stored twice.
func (ix *Index) Name(object segment.ID) segment.IndexName {
	return ix.object(object).name(ix.journal)
}

// keySeq is the seq in the keys of index objects that are planned now. Until the journal
// has entries that programs before version 4 cannot read, these must find the objects, and
// the keys have the old form.
func (s *State) keySeq() uint64 {
	if s.tiering.used {
		return s.head
	}
	return 0
}

// More reports whether there were more chunks to page than one object may hold: plan the
// next one soon.
func (ix *Index) More() bool { return ix.more }

// PlanIndex plans an index object for refs in memory: those in chunks that are full or
// otherwise closed, and those in chunks of at least minRefs, which it closes. Of merged
// extents it takes runs of at least minRefs that are merged no more. It is false
// if there are none. Readers see no difference, and a later plan replaces one that was not
// carried out. Only the caller of Apply may call it.
func (s *State) PlanIndex(minRefs int) (*Index, bool) {
	return s.planIndex(minRefs, MaxIndexPayload)
}

func (s *State) planIndex(minRefs, limit int) (*Index, bool) {
	ix := &Index{journal: s.journal, seq: s.keySeq(), parts: make(map[*part]plannedPages), merged: make(map[*part][]mergedPages)}
	var w wire.Writer
	for _, k := range s.keysLocked() {
		ix.plan(&w, k, s.parts[k], minRefs, limit)
		ix.planMerged(&w, k, s.parts[k], minRefs, limit)
	}
	ix.payload = w.B
	return ix, len(w.B) > 0
}

func (ix *Index) plan(w *wire.Writer, k Key, p *part, minRefs, limit int) {
	l := &p.refs
	planned := plannedPages{first: l.firstInMemory()}
	for i := range l.chunks {
		c := &l.chunks[i]
		last := i == len(l.chunks)-1
		if last && !l.closed && len(c.refs) < min(max(minRefs, 1), chunkRefs) {
			break
		}
		at, size := len(w.B), pageSize(len(c.refs))
		if at+size > limit {
			ix.more = true
			break
		}
		if last {
			l.closed = true
		}
		w.B = slices.Grow(w.B, size)
		appendPage(w, k, l.base(len(l.pages)+i), c.refs)
		planned.pages = append(planned.pages, pagedChunk{
			summary:  c.summary,
			position: uint32(at), length: uint32(size),
			crc: checksum(w.B[at:]),
		})
	}
	if len(planned.pages) > 0 {
		ix.parts[p] = planned
	}
}

// of returns the pages planned for a partition that are neither paged yet nor lost. They
// stand for as many chunks in memory.
func (ix *Index) of(p *part) []pagedChunk {
	if ix == nil {
		return nil
	}
	planned := ix.parts[p]
	return planned.pages[min(max(0, p.refs.firstInMemory()-planned.first), len(planned.pages)):]
}

// IndexObjects returns the index objects that the state names, each once.
func (s *State) IndexObjects() []segment.IndexName {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []segment.IndexName
	for o := range s.indexObjectsLocked() {
		names = append(names, o.name(s.journal))
	}
	slices.SortFunc(names, func(a, b segment.IndexName) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), compareIDs(a.Object, b.Object))
	})
	return names
}

func (s *State) indexObjectsLocked() map[*indexObject]bool {
	objects := map[*indexObject]bool{}
	for _, p := range s.parts {
		for i := range p.refs.pages {
			objects[p.refs.pages[i].object] = true
		}
		for i := range p.below.chunks {
			if page := p.below.chunks[i].page; page != nil {
				objects[page.object] = true
			}
		}
	}
	for _, p := range s.producerPages {
		if !p.dead() {
			objects[p.object] = true
		}
	}
	return objects
}

// Renamed has the state name an index object by another name, under which the same bytes
// were stored. Only the caller of Apply may call it.
func (s *State) Renamed(from, to segment.IndexName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := range s.indexObjectsLocked() {
		if o.id == from.Object {
			o.id, o.seq = to.Object, to.Seq
		}
	}
}

// Paged drops the refs that are in ix from memory. The index object with its payload must
// be durable, and so must a checkpoint that Encode made of ix and the same object id. Only
// the caller of Apply may call it.
func (s *State) Paged(ix *Index, object segment.ID) {
	o := ix.object(object)
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, pages := range ix.merged {
		p.below = p.below.paged(pages, o)
	}
	for p := range ix.parts {
		pages, l := ix.of(p), &p.refs
		for i := range pages {
			page := pages[i]
			page.object = o
			l.pages = append(l.pages, page)
		}
		l.chunks = slices.Clone(l.chunks[len(pages):]) // the old array would keep the refs
	}
}

// object is the planned index object, once it has an id.
func (ix *Index) object(id segment.ID) *indexObject {
	return &indexObject{id: id, size: uint32(len(ix.payload)), seq: ix.seq}
}
