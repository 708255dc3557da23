package partlog

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/varvelog/varve/tiering/wire"
)

const (
	mergedPageVersion = 2
	mergedRowSize     = mergedSize + pieceSize
	mergedRowLast     = mergedSize + 20 // of the last offset in a row
)

// finalBytes are enough for an own segment to be merged no more.
const finalBytes = 64 << 20

// final reports whether no merge is going to replace an extent, as a rule, that has so many
// newer ones. Pages of at least minRefs hold such extents; if one is replaced, its page stays.
func (m *mergedRef) final(newer, minRefs int) bool {
	return m.own() && (m.Length >= finalBytes || newer >= minRefs)
}

// mergedPages is a planned page of merged extents that are in memory.
type mergedPages struct {
	refs []mergedRef
	page mergedPage
}

// appendMergedPage writes extents as they stand in the payload of an index object:
//
//	 0   2  version, 2
//	 2   2  extents, 1 to 256
//	 4   4  partition
//	 8  16  topic id
//	24   8  offset at which the first one starts
//	32      the extents, each a merged object and its piece
func appendMergedPage(w *wire.Writer, k Key, refs []mergedRef) {
	w.U16(mergedPageVersion)
	w.U16(uint16(len(refs)))
	w.I32(k.Index)
	w.ID(k.Topic)
	w.I64(refs[0].Base)
	for i := range refs {
		refs[i].object.append(w)
		refs[i].append(w, 0)
	}
}

// mergedRowOf reads a row of a page. The number of its object is zero.
func mergedRowOf(b []byte) (m *mergedRef, number uint32) {
	r := wire.NewReader(b)
	object := readMerged(r)
	number, piece := readPiece(r)
	piece.object = &object
	return &piece, number
}

// checkMerged returns the last offset and the greatest timestamp, or why there cannot be
// such extents.
func (x *PageExtents) checkMerged() (last, newest int64, reason string) {
	last, newest = -1, -1
	for i := range x.len() {
		m, number := mergedRowOf(x.rows[i*mergedRowSize:][:mergedRowSize])
		e := m.export(x.in)
		switch reason := e.implausible(); {
		case reason != "":
			return 0, 0, fmt.Sprintf("extent %d: %s", i, reason)
		case !m.own() || number != 0 || m.Seq != 0 || i == 0 && m.Base != x.base || m.Base <= last:
			return 0, 0, fmt.Sprintf("extent %d with offsets %d to %d after %d", i, m.Base, m.Last, last)
		}
		last, newest = m.Last, max(newest, m.MaxTimestamp)
	}
	return last, newest, ""
}

func (c *mergedChunk) export(in home) *Page {
	p := c.page
	return &Page{
		Key: in.Key, IndexName: p.object.name(in.journal), Size: p.object.size,
		Position: p.position, Length: p.length, CRC: p.crc,
		Base: c.first, Last: c.last, MaxTimestamp: p.max, Merged: true, Bytes: max(c.bytes, 0),
		Head: in.head,
		base: p.base, last: p.last,
	}
}

// planMerged plans pages for the final extents of a partition that are in memory: of runs
// of at least minRefs.
func (ix *Index) planMerged(w *wire.Writer, k Key, p *part, minRefs, limit int) {
	var run []mergedRef
	flush := func() {
		for len(run) >= max(minRefs, 1) {
			n := min(len(run), chunkRefs)
			at, size := len(w.B), pageFixedSize+n*mergedRowSize
			if at+size > limit {
				ix.more = true
				break
			}
			w.B = slices.Grow(w.B, size)
			appendMergedPage(w, k, run[:n])
			page := mergedPage{position: uint32(at), length: uint32(size), crc: checksum(w.B[at:]), base: run[0].Base, last: run[n-1].Last, max: -1}
			for i := range run[:n] {
				page.max = max(page.max, run[i].MaxTimestamp)
			}
			ix.merged[p] = append(ix.merged[p], mergedPages{refs: run[:n:n], page: page})
			run = run[n:]
		}
		run = nil
	}
	newer := 0
	for range p.below.all() {
		newer++
	}
	next := int64(-1)
	for m := range p.below.all() {
		newer--
		// The times of a page are all known, or none is: only the greatest is stored.
		if !m.final(newer, minRefs) || m.Base != next || len(run) > 0 && (m.MaxTimestamp < 0) != (run[0].MaxTimestamp < 0) {
			flush()
		}
		if m.final(newer, minRefs) {
			run = append(run, *m)
		}
		next = m.Last + 1
	}
	flush()
}

// paged returns the list with planned pages in place of their extents, as far as these are
// in memory as they were.
func (l *mergedList) paged(planned []mergedPages, object *indexObject) mergedList {
	out := *l
	out.chunks = nil
	for i := range l.chunks {
		c := &l.chunks[i]
		if c.page != nil {
			out.chunks = append(out.chunks, *c)
			continue
		}
		refs := c.refs
		for j := range planned {
			p := &planned[j]
			at, ok := slices.BinarySearchFunc(refs, p.page.base, func(m mergedRef, base int64) int { return cmp.Compare(m.Base, base) })
			if !ok || len(refs)-at < len(p.refs) || !slices.Equal(refs[at:][:len(p.refs)], p.refs) {
				continue
			}
			page := p.page
			page.object = object
			out.push(slices.Clone(refs[:at])...)
			out.chunks = append(out.chunks, mergedChunk{first: page.base, last: page.last, page: &page, bytes: bytesOf(p.refs)})
			refs = refs[at+len(p.refs):]
		}
		out.push(slices.Clone(refs)...) // the old array would keep the others
	}
	return out
}

func bytesOf(refs []mergedRef) (n int64) {
	for i := range refs {
		n += int64(refs[i].Length)
	}
	return n
}
