package partlog

import (
	"fmt"
	"slices"
)

// replacement puts refs in place of those that end from "first" on and before "to".
type replacement struct {
	key       Key
	from, to  int64
	start     int64       // of the log: offsets below it do not count
	by        []mergedRef // not empty
	replaced  []mergedRef // those in own segments, which may lie in pages
	out       mergedList
	gone      []mergedRef
	nextNamed int                // in replaced
	bytes     map[pageRows]int64 // that are left of the pages that it changes
}

// pageRows are the rows of one page, of which several chunks may have a part.
type pageRows struct {
	object   *indexObject
	position uint32
}

func (p *mergedPage) rows() pageRows { return pageRows{p.object, p.position} }

// replace returns the list after a replacement, and the refs that are gone. The error says
// what does not match.
func (l *mergedList) replace(r replacement) (mergedList, []mergedRef, error) {
	r.out, r.bytes = mergedList{hash: l.hash, shared: l.shared, own: l.own}, map[pageRows]int64{}
	first := r.by[0].Base
	for r.nextNamed < len(r.replaced) && r.replaced[r.nextNamed].Last < first {
		r.nextNamed++ // stays: the extents that should replace it were left out
	}
	put := false
	for i := range l.chunks {
		c := &l.chunks[i]
		if c.last < first {
			r.out.chunks = append(r.out.chunks, *c)
			continue
		}
		take := r.takeRefs
		if c.page != nil {
			take = r.takePaged
		}
		left, right, err := take(c, first)
		if err != nil {
			return mergedList{}, nil, err
		}
		r.keep(left)
		if !put && c.last >= r.to-1 {
			r.out.push(r.by...)
			put = true
		}
		r.keep(right)
	}
	if !put || r.nextNamed < len(r.replaced) {
		return mergedList{}, nil, fmt.Errorf("%d replaced own segments are listed, %d are there", len(r.replaced), r.nextNamed)
	}
	if err := r.whole(); err != nil {
		return mergedList{}, nil, err
	}
	r.settle()
	for i := range r.gone {
		r.out.hashed(r.key, &r.gone[i])
		r.out.count(&r.gone[i], -1)
	}
	for i := range r.by {
		r.out.hashed(r.key, &r.by[i])
		r.out.count(&r.by[i], 1)
	}
	return r.out, r.gone, nil
}

// keep appends the rest of a chunk.
func (r *replacement) keep(c mergedChunk) {
	if c.page != nil {
		r.out.chunks = append(r.out.chunks, c)
		return
	}
	r.out.push(c.refs...)
}

// takeRefs takes the refs of a chunk in memory that go, and returns the others, before and
// behind them. Those in own segments must be listed.
func (r *replacement) takeRefs(c *mergedChunk, first int64) (left, right mergedChunk, err error) {
	from, to := 0, len(c.refs)
	for from < to && c.refs[from].Last < first {
		from++
	}
	for to > from && c.refs[to-1].Last >= r.to {
		to--
	}
	for i := from; i < to; i++ {
		m := &c.refs[i]
		if m.own() {
			if r.nextNamed == len(r.replaced) || !r.replaced[r.nextNamed].same(m) {
				return left, right, fmt.Errorf("the own segment with offsets %d to %d is not listed", m.Base, m.Last)
			}
			r.nextNamed++
		}
		r.gone = append(r.gone, *m)
	}
	return mergedChunk{refs: c.refs[:from:from]}, mergedChunk{refs: c.refs[to:]}, nil
}

// takePaged takes those of a page that are listed. The page cannot be read here, and the
// listed ones have the offsets at which it is cut.
func (r *replacement) takePaged(c *mergedChunk, _ int64) (left, right mergedChunk, err error) {
	n := len(r.gone)
	for r.nextNamed < len(r.replaced) && r.replaced[r.nextNamed].Last <= c.last {
		r.gone = append(r.gone, r.replaced[r.nextNamed])
		r.nextNamed++
	}
	taken := r.gone[n:]
	if len(taken) == 0 {
		if c.first < r.to {
			return *c, mergedChunk{}, nil
		}
		return mergedChunk{}, *c, nil
	}
	if taken[0].Base < c.first {
		return left, right, fmt.Errorf("offsets %d to %d are listed, the page begins at %d", taken[0].Base, taken[0].Last, c.first)
	}
	rows := c.page.rows()
	r.bytes[rows] += c.bytes
	for i := range taken {
		r.bytes[rows] -= int64(taken[i].Length)
	}
	left, right = *c, *c
	left.bytes, right.bytes = 0, 0
	left.last, right.first = taken[0].Base-1, taken[len(taken)-1].Last+1
	if right.first > right.last {
		right = mergedChunk{}
	}
	if left.last < left.first {
		left = mergedChunk{}
	}
	return left, right, nil
}

// settle gives the bytes that are left of a page to its first chunk. How they divide among
// the chunks is not known, because the page cannot be read here.
func (r *replacement) settle() {
	if len(r.bytes) == 0 {
		return
	}
	first := map[pageRows]*mergedChunk{}
	for i := range r.out.chunks {
		c := &r.out.chunks[i]
		if c.page == nil {
			continue
		}
		rows := c.page.rows()
		if n, ok := r.bytes[rows]; ok {
			if first[rows] == nil {
				first[rows] = c
			}
			r.bytes[rows], c.bytes = n+c.bytes, 0
		}
	}
	for rows, c := range first {
		c.bytes = max(r.bytes[rows], 0)
	}
}

// whole returns an error unless the refs that are gone have exactly the offsets of the
// replacement. Offsets below the start of the log do not count.
func (r *replacement) whole() error {
	low := max(r.from, r.start)
	next := int64(-1)
	for i := range r.gone {
		m := &r.gone[i]
		switch {
		case m.Last < low:
			continue
		case next < 0 && (m.Base > low || r.from > r.start && m.Base != r.from), next >= 0 && m.Base != next:
			return fmt.Errorf("an extent begins at offset %d in the range from %d on", m.Base, low)
		}
		next = m.Last + 1
	}
	if next != r.to {
		return fmt.Errorf("no extents have the offsets %d up to %d", low, r.to)
	}
	return nil
}

// same reports whether two refs are of the same extent.
func (m *mergedRef) same(o *mergedRef) bool {
	a, b := *m, *o
	a.object, b.object = nil, nil
	return a == b && (m.object == nil) == (o.object == nil) && (m.object == nil || *m.object == *o.object)
}

// freed returns the list without the extents that end before offset, and those that are
// gone. A page goes as a whole, with the last of its chunks.
func (l *mergedList) freed(offset int64) (mergedList, []mergedRef) {
	out := mergedList{hash: l.hash, shared: l.shared, own: l.own}
	var gone []mergedRef
	moved := map[int]int64{} // bytes that chunks get from those before them
	for i := range l.chunks {
		c := &l.chunks[i]
		switch {
		case c.page != nil && c.last < offset:
			rows := c.page.rows()
			next := slices.IndexFunc(l.chunks, func(o mergedChunk) bool { return o.page != nil && o.page.rows() == rows && o.last >= offset })
			if next < 0 {
				out.own -= c.bytes
				continue
			}
			moved[next] += c.bytes
		case c.page != nil:
			out.chunks = append(out.chunks, *c)
			out.chunks[len(out.chunks)-1].bytes += moved[i]
		default:
			n := 0
			for n < len(c.refs) && c.refs[n].Last < offset {
				out.count(&c.refs[n], -1)
				n++
			}
			gone = append(gone, c.refs[:n]...)
			out.push(c.refs[n:]...)
		}
	}
	return out, gone
}
