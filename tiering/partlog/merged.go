package partlog

import (
	"crypto/sha256"
	"iter"
	"math"
	"slices"
	"sort"

	"github.com/varvelog/varve/tiering/wire"
)

// mergedList holds the extents of a partition below the offset up to which it is merged,
// in offset order. Chunks are in memory or lie in pages, in any order. There is no gap
// between extents that answer for offsets from the start of the log on.
//
// A list never changes: its methods return another one. So a change can be tried.
type mergedList struct {
	chunks      []mergedChunk
	hash        [32]byte // of all extents there are, and those that were freed
	shared, own int64    // bytes of batches in shared and in own segments
}

// mergedChunk is a run of extents in memory, or those of a page that are left.
type mergedChunk struct {
	first, last int64       // offsets
	refs        []mergedRef // nil: they lie in the page
	page        *mergedPage
	bytes       int64 // of batches, if they lie in the page
}

// mergedPage is a page of extents in own segments. A part of it may be replaced.
type mergedPage struct {
	object           *indexObject
	position, length uint32 // in the payload of the object
	crc              uint32 // of these bytes
	base, last       int64  // offsets
	max              int64  // greatest timestamp
}

// hashed adds an extent to the hash, or takes it out. The hash is the exclusive or of the
// SHA-256 of all extents, so it does not depend on their order.
func (l *mergedList) hashed(k Key, m *mergedRef) {
	w := wire.Writer{B: make([]byte, 0, 20+mergedSize+pieceSize)}
	w.ID(k.Topic)
	w.I32(k.Index)
	if m.object != nil {
		m.object.append(&w)
	}
	m.append(&w, 0)
	sum := sha256.Sum256(w.B)
	for i := range l.hash {
		l.hash[i] ^= sum[i]
	}
}

// count adds n times the bytes of an extent to those of its kind.
func (l *mergedList) count(m *mergedRef, n int64) {
	switch {
	case m.own():
		l.own += n * int64(m.Length)
	case m.shared():
		l.shared += n * int64(m.Length)
	}
}

// seek returns the first chunk that ends at offset or after it; the number of chunks if
// there is none.
func (l *mergedList) seek(offset int64) int {
	return sort.Search(len(l.chunks), func(i int) bool { return l.chunks[i].last >= offset })
}

// from returns up to n extents, starting with the first that ends at offset or after it,
// or the page that has that one.
func (l *mergedList) from(in home, offset int64, n int) (out []Extent, page *Page) {
	for i := l.seek(offset); i < len(l.chunks) && len(out) < n; i++ {
		c := &l.chunks[i]
		if c.page != nil {
			if len(out) == 0 {
				page = c.export(in)
			}
			break
		}
		first := sort.Search(len(c.refs), func(i int) bool { return c.refs[i].Last >= offset })
		for i := range c.refs[first:min(len(c.refs), first+n-len(out))] {
			out = append(out, c.refs[first+i].export(in))
		}
	}
	return out, page
}

// export is the Extent of a ref.
func (m *mergedRef) export(in home) Extent { return m.extent(in.journal, in.Key, m.object) }

func (c *mergedChunk) extents(in home) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for i := range c.refs {
			if !yield(c.refs[i].export(in)) {
				return
			}
		}
	}
}

// newest returns the greatest timestamp that is known of the chunk, or of its page before
// a part of that was replaced.
func (c *mergedChunk) newest() int64 {
	if c.page != nil {
		return c.page.max
	}
	greatest := int64(-1)
	for i := range c.refs {
		greatest = max(greatest, c.refs[i].MaxTimestamp)
	}
	return greatest
}

// upTo returns the greatest timestamp that the chunk may have.
func (c *mergedChunk) upTo() int64 {
	vague := c.page != nil && c.page.max < 0
	for i := range c.refs {
		vague = vague || c.refs[i].MaxTimestamp < 0
	}
	if vague {
		return math.MaxInt64
	}
	return c.newest()
}

// firstWithTime returns the first extent that ends at offset or after it and may have a
// timestamp of ts or more, or the page that may have it.
func (l *mergedList) firstWithTime(in home, offset, ts int64) (Extent, *Page, bool) {
	for i := l.seek(offset); i < len(l.chunks); i++ {
		c := &l.chunks[i]
		if c.upTo() < ts {
			continue
		}
		if c.page != nil {
			return Extent{}, c.export(in), true
		}
		if e, ok := withTime(c.extents(in), offset, ts); ok {
			return e, nil, true
		}
	}
	return Extent{}, nil, false
}

// newestIn looks at the extents that end at offset or after it, in chunks that begin below
// end. It returns the first with the greatest timestamp, or the page that may have it, and
// that timestamp.
func (l *mergedList) newestIn(in home, offset, end int64) (newest Extent, page *Page, greatest int64) {
	greatest = -1
	for i := l.seek(offset); i < len(l.chunks) && l.chunks[i].first < end; i++ {
		c := &l.chunks[i]
		if c.newest() <= greatest {
			continue
		}
		if c.page != nil {
			page, greatest = c.export(in), c.page.max
			continue
		}
		if e, ok := newestOf(c.extents(in), offset); ok && e.MaxTimestamp > greatest {
			newest, page, greatest = e, nil, e.MaxTimestamp
		}
	}
	return newest, page, greatest
}

// all yields the refs in memory.
func (l *mergedList) all() iter.Seq[*mergedRef] {
	return func(yield func(*mergedRef) bool) {
		for i := range l.chunks {
			for j := range l.chunks[i].refs {
				if !yield(&l.chunks[i].refs[j]) {
					return
				}
			}
		}
	}
}

// push appends refs to the chunks of a list that is being built. Refs next to each other
// are one chunk.
func (l *mergedList) push(refs ...mergedRef) {
	if len(refs) == 0 {
		return
	}
	last := refs[len(refs)-1].Last
	if n := len(l.chunks); n > 0 && l.chunks[n-1].page == nil {
		c := &l.chunks[n-1]
		c.refs, c.last = append(slices.Clip(c.refs), refs...), last
		return
	}
	l.chunks = append(l.chunks, mergedChunk{first: refs[0].Base, last: last, refs: refs})
}

// with returns the list with refs behind its end.
func (l *mergedList) with(k Key, refs []mergedRef) mergedList {
	out := *l
	out.chunks = slices.Clone(l.chunks)
	out.push(refs...)
	for i := range refs {
		out.hashed(k, &refs[i])
		out.count(&refs[i], 1)
	}
	return out
}
